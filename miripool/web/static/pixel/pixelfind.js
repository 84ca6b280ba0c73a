// The search for pixels that satisfy a condition, and the list of those found.

import { get, poolPath } from "../api.js";
import { gridTable } from "../gridtable.js";
import { num, numberText } from "../charts/chartvalues.js";
import { h, stateLink } from "../dom.js";
import { counted } from "../words.js";
import { imageState } from "./pixelask.js";

/** Rows in the list at most. */
const MOST = 300;
/** Characters of a name that are shown; its middle is left out. */
const LONGEST = 26;
/** Columns of the answer that have a place of their own in the list, or none. */
const KNOWN = ["urn", "name", "version", "time", "detector", "pixel_id", "x", "y"];

/** Ask for the pixels that satisfy the state's condition, and list them; a click opens one. */
export async function loadFound(state, go, signal) {
  const { pool, kind, condition, where, tag, detector, all_versions } = state;
  const asked = { kind, condition, where, tag, detector, all_versions, limit: MOST };
  const found = await get(poolPath(pool, "pixels"), asked, signal);
  if (!found.rows.length)
    return h(
      "p.empty",
      {},
      "No pixel satisfies this condition. Versions without pixel rows are not searched: `miripool index pixels` makes them.",
    );
  const values = found.columns.filter((name) => !KNOWN.includes(name));
  const lengths = found.rows.map((row) => values.map((name) => row[name]).find(Array.isArray)?.length ?? null);
  const shape = { values, lengths, detectors: new Set(found.rows.map((row) => row.detector)).size > 1 };
  const columns = [
    ["x, y"],
    ...(shape.detectors ? [["detector"]] : []),
    ["name"],
    ["version", true],
    ...(lengths.some((one) => one !== null) ? [["integrations", true]] : []),
    ...values.map((name) => [unitOf(name), !name.endsWith("dq")]),
  ];
  const list = h(
    "div",
    { class: state.x ? "beside-plots" : null },
    h("p.faint.part-note", {}, summaryOf(found, state)),
    gridTable(
      `Pixels where ${condition}`,
      columns,
      found.rows.map((row, i) => rowOf(row, i, shape, state, go)),
      { box: "px-found" },
    ),
  );
  // The list is in the page a moment later; the chosen pixel is then in sight.
  setTimeout(() => list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }));
  return list;
}

function summaryOf({ rows, more }, { kind, all_versions }) {
  const pixels = new Set(rows.map(({ x, y, detector }) => `${detector} ${x} ${y}`)).size;
  const of = `of kind ${kind}${all_versions ? ", all versions" : ""}`;
  if (more) return `The first ${counted(rows.length, "row")} ${of}; there are more.`;
  return `${counted(rows.length, "row")} ${of}, ${counted(pixels, "pixel")}.`;
}

function rowOf(row, i, { values, lengths, detectors }, state, go) {
  const chosen = row.x === Number(state.x) && row.y === Number(state.y);
  const to = { ...state, x: row.x, y: row.y, detector: row.detector || state.detector, serial: "" };
  return h(
    "tr",
    { "aria-selected": chosen ? "true" : null },
    h("td", {}, stateLink(`${row.x}, ${row.y}`, to, go)),
    detectors ? h("td", {}, row.detector) : null,
    h("td", {}, stateLink(shortName(row.name), imageState(state.pool, row, row.x, row.y), go, { title: `Image of ${row.name}` })),
    h("td.number", {}, row.version),
    lengths.some((one) => one !== null) ? h("td.number", {}, lengths[i] ?? "") : null,
    values.map((name) => (name.endsWith("dq") ? h("td", {}, flagsText(row[name])) : h("td.number", {}, valueText(row[name])))),
  );
}

/** Leave out the middle of a long name: exposures differ at both ends. */
function shortName(name) {
  const end = LONGEST >> 1;
  return name.length > LONGEST ? `${name.slice(0, end - 1)}…${name.slice(-end)}` : name;
}

function unitOf(name) {
  return { rate: "rate (DN/s)", err: "err (DN/s)", dn: "dn (DN)", sci: "sci (DN)" }[name] ?? name;
}

/** Write a value; of the values of integrations and groups the first, the last, and how many there are. */
function valueText(value) {
  if (!Array.isArray(value)) return value === null ? "" : numberText(num(value), 5);
  const all = value.flat(Infinity).map((one) => numberText(num(one), 5));
  if (all.length < 3) return all.join(", ");
  const size = Array.isArray(value[0]) ? `${value.length} × ${value[0].length}` : value.length;
  return `${all[0]} … ${all.at(-1)} (${size})`;
}

/** Write flags; of those of integrations and groups also how many have each. */
function flagsText(value) {
  if (!Array.isArray(value)) return (value ?? "").replaceAll("|", ", ");
  const all = value.flat(Infinity), counts = new Map();
  for (const name of all.flatMap((one) => (one ? one.split("|") : []))) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => `${name} in ${count} of ${all.length}`).join(", ");
}
