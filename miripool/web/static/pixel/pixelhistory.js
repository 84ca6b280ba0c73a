// The history of a pixel: its rate in every integration, through all exposures.

import { seriesStyle } from "../charts/chartmarks.js";
import { makeChart } from "../charts/charts.js";
import { medianOf, num, numberText, seconds, timeText, withError } from "../charts/chartvalues.js";
import { h } from "../dom.js";
import { askHistory, rateKind } from "./pixelask.js";
import { counted } from "../words.js";

/**
 * Ask for the history of a pixel, and show it.
 * @param {object} asked - see pixelask.js.
 * @param {object} options - onOpen(row) after a click on a point; compact; against: "time" or "order", onAgainst(value).
 */
export async function loadHistory(asked, options, signal) {
  const rows = await askHistory(asked, signal);
  if (!rows.length) return h("p.empty", {}, `The pool has no ${rateKind(asked)} that satisfies these conditions.`);
  return historyOf(rows, asked, options, signal);
}

function historyOf(rows, asked, options, signal) {
  const place = h("div");
  const draw = (against) => place.replaceChildren(makeChart(specOf(rows, asked, options, against), signal));
  draw(options.against ?? "time");
  const choice = options.onAgainst ? againstChoice(options, draw) : null;
  return h("div", {}, h("p.faint.part-note", {}, h("span", {}, summaryOf(rows)), choice), place);
}

function againstChoice({ against, onAgainst }, draw) {
  const change = (event) => {
    onAgainst(event.target.value);
    draw(event.target.value);
  };
  return h(
    "label.inline",
    {},
    "Against ",
    h(
      "select",
      { on: { change } },
      h("option", { value: "time", selected: against !== "order" }, "time"),
      h("option", { value: "order", selected: against === "order" }, "order"),
    ),
  );
}

function summaryOf(rows) {
  const rates = rows.map(({ rate }) => num(rate)),
    finite = rates.filter(Number.isFinite);
  const exposures = new Set(rows.map(({ urn }) => urn)).size;
  const lost = rates.length - finite.length,
    flagged = rows.filter(({ dq }) => dq).length;
  const what =
    rows[0].integration === undefined
      ? counted(exposures, "exposure")
      : `${counted(rows.length, "integration")} of ${counted(exposures, "version")}`;
  const parts = [what, finite.length ? `median rate ${numberText(medianOf(finite), 4)} DN/s` : "no rate is a number"];
  if (lost && finite.length) parts.push(`${lost.toLocaleString("en")} without a rate`);
  if (flagged) parts.push(`${flagged.toLocaleString("en")} with DQ flags`);
  return `${parts.join("; ")}.`;
}

function specOf(rows, asked, { onOpen, compact }, against) {
  const byOrder = against === "order";
  const points = rows.map((row, i) => pointOf(row, byOrder ? i + 1 : seconds(row.time)));
  const flagged = points.some(({ record }) => record.dq);
  return {
    label: `Rate of pixel x ${asked.x}, y ${asked.y} in pool ${asked.pool} against ${byOrder ? "the order of integrations" : "time"}. ${summaryOf(rows)}`,
    x: byOrder
      ? { label: "integrations in the order of time", whole: true }
      : { time: true, label: `start of the ${points[0].record.integration === undefined ? "exposure" : "integration"} (UTC)` },
    y: { label: "rate (DN/s)" },
    series: seriesOf(points, asked),
    keys: flagged
      ? [
          { name: "DQ flags", shape: "circle", hollow: true, colour: "#1b2430" },
          { name: "DO_NOT_USE", shape: "cross", colour: "#1b2430" },
        ]
      : [],
    columns: columnsOf(points),
    height: compact ? 200 : 300,
    empty: "no integration has a rate",
    onPick: onOpen,
    pickText: "open this exposure",
  };
}

function pointOf(row, x) {
  const y = num(row.rate),
    error = num(row.err);
  const names = row.dq ? row.dq.split("|") : [];
  return {
    x,
    y,
    lo: y - error,
    hi: y + error,
    error,
    record: row,
    hollow: names.length > 0,
    shape: names.includes("DO_NOT_USE") ? "cross" : undefined,
  };
}

/** Give one series, or one for each version number where all versions are asked for. */
function seriesOf(points, { all_versions }) {
  if (!all_versions) return [{ name: "newest versions", legend: false, ...seriesStyle(1), shape: "circle", points }];
  const numbers = [...new Set(points.map(({ record }) => record.version))].sort((a, b) => a - b);
  // Where versions have equal rates, the marks of older ones are larger and stay in sight around those of newer ones.
  const newest = new Map();
  for (const { record } of points) newest.set(record.name, Math.max(record.version, newest.get(record.name) ?? 0));
  const grown = (point) => ({ ...point, radius: 3.6 + 2 * Math.min(newest.get(point.record.name) - point.record.version, 4) });
  return numbers.map((number, i) => ({
    name: `version ${number}`,
    ...seriesStyle(i),
    points: points.filter(({ record }) => record.version === number).map(grown),
  }));
}

function columnsOf(points) {
  const integrations = points[0].record.integration !== undefined;
  return [
    { text: "time (UTC)", of: ({ record }) => timeText(seconds(record.time)) },
    { text: "rate (DN/s)", number: true, of: ({ y, error }) => withError(y, error) },
    { text: "DQ", of: ({ record }) => (record.dq ? record.dq.replaceAll("|", ", ") : "") },
    { text: "exposure", of: ({ record }) => record.name },
    { text: "version", number: true, of: ({ record }) => String(record.version) },
    ...(integrations ? [{ text: "integration", number: true, of: ({ record }) => String(record.integration) }] : []),
  ];
}
