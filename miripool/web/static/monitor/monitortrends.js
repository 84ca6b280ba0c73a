// Trends of a monitor: level, spread and noise of each amplifier through time, and lines fitted to the levels.

import { get, poolPath } from "../api.js";
import { seriesStyle } from "../charts/chartmarks.js";
import { makeChart } from "../charts/charts.js";
import { medianOf, num, numberText, seconds, timeText, withError } from "../charts/chartvalues.js";
import { h } from "../dom.js";
import { gridTable } from "../gridtable.js";
import { eventsOf } from "../pixel/pixellife.js";

/** Quantities by their names in the API. */
export const QUANTITIES = {
  median: { text: "level (median)", label: "level: median rate (DN/s)" },
  sigma: { text: "spread (sigma)", label: "spread: robust σ of the pixels (DN/s)" },
  noise: { text: "noise", label: "noise between integrations (DN/s)" },
};
const DAY = 86400;

/** Ask for the trends, and show one quantity of them. */
export async function loadTrends(page, signal) {
  const { pool, name, state, stratum } = page;
  const path = poolPath(pool, "monitors", name, "trends");
  const fitted = state.fit === "true";
  const [all, fits] = await Promise.all([keptTrends(page, path, signal), fitted ? get(path, { fit: true }, signal) : []]);
  const records = all.filter((one) => one.stratum === stratum.title);
  const lines = fits.filter((one) => one.stratum === stratum.title);
  const quantity = state.quantity in QUANTITIES ? state.quantity : "median";
  if (!records.length) return h("p.empty", {}, "There are no trends of this stratum.");
  const levels = quantity === "median";
  return h(
    "div",
    {},
    h("p.faint.part-note", {}, textOf(records)),
    makeChart(specOf(page, records, quantity, levels ? lines : []), signal),
    fitted ? fitTable(lines, levels) : null,
  );
}

/** Keep the answer while the page is shown: the quantity changes, the records do not. */
async function keptTrends(page, path, signal) {
  page.trends ??= await get(path, {}, signal);
  return page.trends;
}

function textOf(records) {
  const integrations = Math.max(...new Set(records.map(({ integration }) => integration)));
  if (integrations === 1) return "A point for each exposure and amplifier.";
  const first = integrations >= 3 ? " without the first" : "";
  return `A point for each exposure and amplifier: the median of its integrations${first}; the bar is their range.`;
}

/** Give a point for each exposure of an amplifier. The first of three or more integrations is left out, as in the fits. */
function pointsOf(records, quantity) {
  const byUrn = new Map();
  for (const one of records) {
    if (!byUrn.has(one.urn)) byUrn.set(one.urn, []);
    byUrn.get(one.urn).push(one);
  }
  return [...byUrn.values()].map((own) => {
    const used = own.length >= 3 ? own.filter(({ integration }) => integration > 1) : own;
    const values = used.map((one) => num(one[quantity])).filter(Number.isFinite);
    const several = values.length > 1;
    return {
      x: seconds(own[0].time),
      y: medianOf(values),
      lo: several ? Math.min(...values) : NaN,
      hi: several ? Math.max(...values) : NaN,
      number: values.length,
      record: own[0],
    };
  });
}

function specOf(page, records, quantity, lines) {
  const amplifiers = [...new Set(records.map(({ amplifier }) => amplifier))].sort((a, b) => a - b);
  const looks = new Map(amplifiers.map((amplifier, i) => [amplifier, seriesStyle(i)]));
  const series = amplifiers.map((amplifier) => ({
    name: `amplifier ${amplifier}`,
    ...looks.get(amplifier),
    dash: [],
    line: true,
    width: 1,
    points: pointsOf(
      records.filter((one) => one.amplifier === amplifier),
      quantity,
    ),
  }));
  const fitted = lines.map((one) => ({
    name: "fitted lines",
    of: `amplifier ${one.amplifier}`,
    decoration: true,
    line: true,
    width: 2.5,
    dash: [8, 5],
    colour: looks.get(one.amplifier).colour,
    points: endsOf(one),
  }));
  return {
    label: `Trends of monitor ${page.name}: ${QUANTITIES[quantity].text} of amplifiers ${amplifiers.join(", ")} through ${series[0].points.length} exposures.`,
    x: { time: true, label: "start of the exposure (UTC)" },
    y: { label: QUANTITIES[quantity].label },
    series: [...series, ...fitted],
    events: eventsOf(page.about.events),
    height: 320,
    columns: [
      { text: "time (UTC)", of: ({ x }) => timeText(x) },
      { text: `${quantity === "median" ? "level" : quantity} (DN/s)`, number: true, of: ({ y }) => numberText(y) },
      {
        text: "range (DN/s)",
        number: true,
        of: ({ lo, hi }) => (Number.isFinite(lo) ? `${numberText(lo, 4)} … ${numberText(hi, 4)}` : ""),
      },
      { text: "integrations", number: true, of: ({ number }) => String(number) },
    ],
    onPick: page.openExposure,
    pickText: "open this exposure",
  };
}

/** Give the ends of a fitted line: its level is that in the middle of the time, its slope DN/s a day. */
function endsOf({ begin, end, level, slope }) {
  const from = seconds(begin),
    to = seconds(end),
    half = (slope * (to - from)) / DAY / 2;
  return [
    { x: from, y: level - half },
    { x: to, y: level + half },
  ];
}

function fitTable(lines, levels) {
  if (!lines.length) return h("p.faint", {}, "A line needs at least four exposures.");
  const columns = [
    "amplifier",
    "level (DN/s)",
    "slope (DN/s per day)",
    "significance",
    "scatter of an exposure (DN/s)",
    "exposures used",
  ];
  const cells = (one) => [
    one.amplifier,
    numberText(num(one.level)),
    withError(num(one.slope), num(one.error)),
    numberText(num(one.significance), 3),
    numberText(num(one.sigma), 3),
    `${one.used} of ${one.exposures}`,
  ];
  return h(
    "div",
    {},
    levels ? null : h("p.faint", {}, "Lines are fitted to the levels; choose that quantity to see them."),
    gridTable(
      "Lines fitted to the levels",
      columns.map((text) => [text, true]),
      lines.map(cells),
    ),
  );
}
