// Events of a monitor: which fraction of the bad pixels healed with each, and how many good pixels became bad.

import { get, poolPath } from "../api.js";
import { stateSwatch, swatch } from "../charts/chartmarks.js";
import { num, percent, seconds, timeText } from "../charts/chartvalues.js";
import { h } from "../dom.js";
import { gridTable } from "../gridtable.js";
import { shell } from "../words.js";

/** Ask what the events did, and list it. */
export async function loadEffects(page, signal) {
  const all = await get(poolPath(page.pool, "monitors", page.name, "events"), {}, signal);
  const records = all.filter(({ stratum }) => stratum === null || stratum === page.stratum.title);
  if (!records.length) return noEvents(page);
  const columns = [
    ["time (UTC)"],
    ["kind"],
    ["note"],
    ["state"],
    ["bad before", true],
    ["healed", true],
    ["healed fraction"],
    ["95 % interval"],
    ["good before", true],
    ["born", true],
  ];
  return h(
    "div",
    {},
    h(
      "p.faint.part-note",
      {},
      "Healed: bad before the event, normal after it. Born: the other way round. A change one exposure before or after the event counts as well.",
    ),
    gridTable("Effects of events", columns, records.map(rowOf)),
  );
}

function noEvents({ pool, name }) {
  return h(
    "p.empty",
    {},
    "No event is noted. This command notes one: ",
    h("code", {}, `miripool monitor events ${shell(pool)} ${shell(name)} --add 2026-05-01T12:00:00 --kind anneal`),
  );
}

function rowOf(one) {
  const head = [
    h("td.nowrap", {}, timeText(seconds(one.time))),
    h("td.breakable", {}, one.kind),
    h("td.breakable", {}, one.note),
  ];
  if (one.bad === null) return h("tr", {}, head, h("td.faint", { colspan: 7 }, "The event lies between no two exposures."));
  return h(
    "tr",
    {},
    head,
    h("td.nowrap", {}, one.state === "any" ? h("b", {}, "any of these") : [swatch(stateSwatch(one.state)), ` ${one.state}`]),
    h("td.number", {}, one.bad.toLocaleString("en")),
    h("td.number", {}, one.healed.toLocaleString("en")),
    h("td.nowrap", {}, whiskers(one), ` ${percent(num(one.healed_fraction))}`),
    h("td.nowrap", {}, intervalOf(one.healed_low, one.healed_high)),
    h("td.number", {}, one.good.toLocaleString("en")),
    h("td.number", {}, one.born.toLocaleString("en")),
  );
}

function intervalOf(low, high) {
  return low === null || high === null ? "" : `${percent(num(low))} … ${percent(num(high))}`;
}

/** Draw a fraction from 0 to 1 with its interval. */
function whiskers({ healed_fraction: at, healed_low: low, healed_high: high }) {
  const width = 90,
    height = 14,
    ratio = 2;
  const canvas = h("canvas.whiskers", { width: width * ratio, height: height * ratio, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = "#e2e7ee";
  pen.fillRect(0, 3, width, 8);
  if (at === null) return canvas;
  pen.fillStyle = "#0072b2";
  pen.fillRect(0, 3, width * at, 8);
  pen.strokeStyle = "#1b2430";
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const end of [low, high]) {
    pen.moveTo(width * end, 2);
    pen.lineTo(width * end, 12);
  }
  pen.moveTo(width * low, 7);
  pen.lineTo(width * high, 7);
  pen.stroke();
  return canvas;
}
