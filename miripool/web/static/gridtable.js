// Tables of values in a box that scrolls by itself.

import { h } from "./dom.js";

/**
 * Make a table in a box.
 * @param {string} caption - what the table holds, for screen readers.
 * @param {Array} columns - [text] or [text, true] for numbers, which stand at the right.
 * @param {Array} rows - lists of cells (text or elements), or finished tr elements.
 * @param {object} [options] - box: class of the box, which may limit its height; table: further class of the table.
 */
export function gridTable(caption, columns, rows, { box = "scroll", table = "" } = {}) {
  const head = columns.map(([text, number]) => h(number ? "th.number" : "th", { scope: "col" }, text));
  const made = rows.map((row) =>
    row instanceof Node
      ? row
      : h(
          "tr",
          {},
          row.map((cell, i) => h(columns[i][1] ? "td.number" : "td", {}, cell)),
        ),
  );
  return h(
    `div.${box}`,
    { tabindex: "0", role: "region", "aria-label": caption },
    h(
      table ? `table.grid.${table}` : "table.grid",
      {},
      h("caption.visually-hidden", {}, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, made),
    ),
  );
}
