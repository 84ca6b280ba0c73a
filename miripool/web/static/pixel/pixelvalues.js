// The table of a pixel's values in each dataset of a version, or of two.

import { num, numberText } from "../charts/chartvalues.js";
import { h } from "../dom.js";
import { counted } from "../words.js";
import { flagNames } from "./rampfit.js";

/**
 * Make the table.
 * @param {Array} answers - the API's answer on the pixel's values, and that on a second version or null.
 * @param {string} dataset - is marked.
 * @param {number|null} integration - counts from 1.
 */
export function valuesTable(answers, dataset, integration) {
  const sides = answers.filter(Boolean), names = [...new Set(sides.flatMap(({ values }) => Object.keys(values)))];
  if (!names.length) return h("p.empty", {}, "No dataset covers this pixel.");
  const cell = (side, name) => h("td", {}, name in side.values ? valueText(side.values[name], lookOf(side, name), integration) : "–");
  const rows = names.map((name) =>
    h(
      "tr",
      { "aria-selected": name === dataset ? "true" : null },
      h("th", { scope: "row" }, name),
      sides.map((side) => cell(side, name)),
    ),
  );
  const heads = sides.length > 1 ? ["dataset", "first", "second"] : ["dataset", "value"];
  return h(
    "table.grid.px-values",
    {},
    h("caption.visually-hidden", {}, "Values of the pixel in each dataset"),
    h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows),
  );
}

/** Give what the values of a dataset are written with: the names of its flags or null, and what its first axis counts. */
function lookOf({ urn, flags = {} }, name) {
  return { flags: /DQ$/.test(name) ? flags : null, of: /:(RateInts|Ramp|Raw):\d+$/.test(urn) ? "integration" : "plane" };
}

/** Write a value, or the values of integrations and groups in short. */
function valueText(value, { flags, of }, integration) {
  if (!Array.isArray(value)) return flags ? flagNames(value, flags).join(", ") || "no flag" : numberText(num(value), 7);
  if (!Array.isArray(value[0])) return listText(value, flags, of);
  const at = value[(integration ?? 1) - 1] ? (integration ?? 1) : 1,
    size = `${value.length} × ${value[0].length}`;
  if (Array.isArray(value[0][0])) return `${size} × … values`;
  return `${size} values; ${of} ${at}: ${listText(value[at - 1], flags, "group")}`;
}

function listText(values, flags, of) {
  if (flags) return flagsText(values, flags, of);
  if (values.length <= 6) return values.map((one) => numberText(num(one), 6)).join(", ");
  const numbers = values.map(num).filter(Number.isFinite);
  return numbers.length ? `${numberText(Math.min(...numbers), 6)} … ${numberText(Math.max(...numbers), 6)}` : "NaN";
}

/** Say in how many of the groups or integrations each flag is set, e.g. "DO_NOT_USE in 2 of 20 groups". */
function flagsText(values, flags, of) {
  const counts = new Map();
  for (const name of values.flatMap((one) => flagNames(one, flags))) counts.set(name, (counts.get(name) ?? 0) + 1);
  const all = counted(values.length, of);
  const told = [...counts].map(([name, count]) => `${name} in ${count === values.length && count > 1 ? "all" : `${count} of`} ${all}`);
  return told.join(", ") || "no flag";
}
