// The columns of the table: which are shown, in which order; any keyword of any header can be one.

import { get, poolPath } from "../api.js";
import { askFor } from "../dialogs.js";
import { fill, h } from "../dom.js";

/**
 * Let the user choose columns.
 * @param {object} options - pool, columns (those shown), usual (those shown unless others are chosen),
 *   choose(columns): checks and shows them; what it throws is shown in the dialog.
 */
export function chooseColumns({ pool, columns, usual, choose }) {
  let chosen = [...columns];
  const list = h("ol.columns");
  const names = h("datalist", { id: "column-names" });
  const input = h("input", { id: "new-column", type: "text", autocomplete: "off", list: "column-names", placeholder: "a keyword, e.g. CRDS_CTX or SCI.BUNIT" });
  const move = (i, to) => { chosen.splice(to, 0, ...chosen.splice(i, 1)); draw(); };
  const button = (label, text, act, disabled = false) => h("button", { type: "button", "aria-label": label, disabled, on: { click: act } }, text);
  const draw = () => fill(list, chosen.map((column, i) => h("li", {}, h("span.mono", {}, column), h("span.grow"),
    button(`Move ${column} up`, "↑", () => move(i, i - 1), i === 0),
    button(`Move ${column} down`, "↓", () => move(i, i + 1), i === chosen.length - 1),
    button(`Leave out ${column}`, "×", () => { chosen.splice(i, 1); draw(); }))));
  const add = () => {
    const column = input.value.trim();
    if (column && !chosen.includes(column)) chosen.splice(1, 0, column); // beside the name
    input.value = "";
    draw();
  };
  input.addEventListener("input", async () => {
    const found = await get(poolPath(pool, "keywords"), { prefix: input.value.trim(), limit: 12 });
    fill(names, found.map((one) => h("option", { value: one.keyword }, one.description ?? "")));
  });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); add(); } });
  draw();
  askFor("Columns", [], "Show", () => { add(); return choose(chosen); },
    h("div", {}, h("div.row", {}, h("label", { for: "new-column" }, "Add"), input, names, button("Add this column", "Add", add),
      button("The usual columns", "Usual columns", () => { chosen = [...usual]; draw(); })), list));
  input.focus();
}
