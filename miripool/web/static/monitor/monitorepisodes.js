// Episodes of a monitor: which pixel was in which state from when to when, a page at a time, the clearest first.

import { get, poolPath } from "../api.js";
import { stateSwatch, swatch } from "../charts/chartmarks.js";
import { num, numberText, seconds, timeText } from "../charts/chartvalues.js";
import { h, stateLink } from "../dom.js";
import { gridTable } from "../gridtable.js";

const PAGE = 25;

/** Make the choice of a state. */
export function statesChoice({ about, state }, onState) {
  return h(
    "div.mon-controls",
    {},
    h(
      "label",
      {},
      "State ",
      h(
        "select",
        { on: { change: (event) => onState(event.target.value) } },
        h("option", { value: "" }, "all"),
        about.known_states.map((name) => h("option", { value: name, selected: name === state.state }, name)),
      ),
    ),
  );
}

/** Ask for a page of episodes, and list it; `keep` changes the state and loads again. */
export async function loadEpisodes(page, keep, signal) {
  const { pool, name, state } = page;
  const offset = Math.max(0, Math.floor(Number(state.offset)) || 0);
  const { total, rows } = await get(
    poolPath(pool, "monitors", name, "states"),
    { state: state.state, limit: PAGE, offset },
    signal,
  );
  if (!total)
    return h("p.empty", {}, state.state ? `No pixel was ${state.state} at any time.` : "No pixel was in any state at any time.");
  const several = page.about.strata.length > 1;
  const columns = [
    ["x", true],
    ["y", true],
    ["state"],
    ["begin (UTC)"],
    ["end (UTC)"],
    ["amplitude (DN/s)", true],
    ["error (DN/s)", true],
    ["significance", true],
    ["exposures", true],
    ...(several ? [["stratum"]] : []),
  ];
  return h(
    "div",
    {},
    pager(total, offset, rows.length, keep),
    gridTable(
      "Episodes, the most significant first; the end is empty while the state lasts",
      columns,
      rows.map((row) => rowOf(row, page, several)),
    ),
  );
}

function pager(total, offset, length, keep) {
  const last = Math.floor((total - 1) / PAGE) * PAGE;
  const button = (text, to, off) =>
    h("button", { type: "button", disabled: off, on: { click: () => keep({ offset: to || "" }) } }, text);
  const where = length
    ? `${(offset + 1).toLocaleString("en")}–${(offset + length).toLocaleString("en")} of ${total.toLocaleString("en")}`
    : `${total.toLocaleString("en")} in all, none from here on`;
  return h(
    "div.pager",
    {},
    button("First", 0, offset === 0),
    button("‹ Previous", Math.max(0, offset - PAGE), offset === 0),
    h("span", {}, where),
    button("Next ›", offset + PAGE, offset + PAGE >= total),
    button("Last", last, offset >= last),
  );
}

function rowOf(row, page, several) {
  const to = page.pixelState(row.x, row.y, row.detector);
  const open = (event) => {
    if (!event.target.closest("a")) page.go(to);
  };
  return h(
    "tr.clickable",
    { on: { click: open } },
    h("td.number", {}, stateLink(String(row.x), to, page.go, { "aria-label": `Pixel x ${row.x}, y ${row.y}` })),
    h("td.number", {}, row.y),
    h("td.nowrap", {}, swatch(stateSwatch(row.state)), ` ${row.state}`),
    h("td.nowrap", {}, timeText(seconds(row.begin))),
    h("td.nowrap", {}, row.end ? timeText(seconds(row.end)) : ""),
    h("td.number", {}, numberText(num(row.amplitude))),
    h("td.number", {}, numberText(num(row.error), 3)),
    h("td.number", {}, numberText(num(row.significance), 3)),
    h("td.number", {}, row.exposures.length),
    several ? h("td.breakable", {}, row.stratum) : null,
  );
}
