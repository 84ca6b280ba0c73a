// The search for pixels that satisfy a condition, and the list of those found.

import { get, poolPath } from "../api.js";
import { num, numberText } from "../charts/chartvalues.js";
import { h, stateLink } from "../dom.js";
import { gridTable } from "../charts/gridtable.js";
import { counted } from "../words.js";

/** Pixels in the list at most. */
const MOST = 300;
const SHOWN = 4;

/** Ask for the pixels that satisfy the state's condition, and list them; a click opens one. */
export async function loadFound(state, go, signal) {
  const { pool, kind, condition, where, tag, detector } = state;
  const found = await get(poolPath(pool, "pixels"), { kind, condition, where, tag, detector, limit: MOST }, signal);
  if (!found.rows.length)
    return h(
      "p.empty",
      {},
      "No pixel satisfies this condition. Versions without pixel rows are not searched: `miripool index pixels` makes them.",
    );
  const values = found.columns.filter(
    (name) => !["urn", "name", "version", "time", "detector", "pixel_id", "x", "y"].includes(name),
  );
  const columns = [["pixel x, y"], ["detector"], ["exposure"], ["version", true], ...values.map((name) => [unitOf(name)])];
  const pixels = new Set(found.rows.map(({ x, y, detector: of }) => `${of} ${x} ${y}`)).size;
  const many = found.more
    ? `The first ${counted(found.rows.length, "row")}; there are more.`
    : `${counted(found.rows.length, "row")}, ${counted(pixels, "pixel")}.`;
  return h(
    "div",
    {},
    h("p.faint.part-note", {}, many),
    gridTable(
      `Pixels where ${condition}`,
      columns,
      found.rows.map((row) => rowOf(row, values, state, go)),
      { box: "chart-scroll" },
    ),
  );
}

function rowOf(row, values, state, go) {
  const chosen = row.x === Number(state.x) && row.y === Number(state.y);
  const to = { ...state, x: row.x, y: row.y, detector: row.detector || state.detector, serial: "" };
  return h(
    "tr",
    { "aria-selected": chosen ? "true" : null },
    h("td", {}, stateLink(`${row.x}, ${row.y}`, to, go)),
    h("td", {}, row.detector),
    h("td.breakable", {}, row.name),
    h("td.number", {}, row.version),
    values.map((name) => h("td", {}, listText(row[name]))),
  );
}

function unitOf(name) {
  return { rate: "rate (DN/s)", err: "err (DN/s)", dn: "dn (DN)", sci: "sci (DN)" }[name] ?? name;
}

/** Write the values of the integrations, and of groups: the first ones. */
function listText(value) {
  if (Array.isArray(value)) {
    const flat = value.flat(Infinity);
    if (flat.every((one) => one === "")) return "";
    const texts = flat.slice(0, SHOWN).map((one) => listText(one) || "–");
    return flat.length > SHOWN ? `${texts.join(", ")}, … (${flat.length})` : texts.join(", ");
  }
  if (typeof value === "string")
    return ["NaN", "inf", "-inf"].includes(value) ? numberText(num(value)) : value.replaceAll("|", " ");
  return value === null ? "" : numberText(value, 5);
}
