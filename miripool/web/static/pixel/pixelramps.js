// The ramps of a pixel in one version: lines through the groups of every integration, flags and slopes.

import { PALETTE } from "../charts/chartmarks.js";
import { makeChart } from "../charts/charts.js";
import { num, numberText, timeText, seconds, withError } from "../charts/chartvalues.js";
import { colours256 } from "../image/colours.js";
import { fill, h } from "../dom.js";
import { problemOf } from "../parts.js";
import { askRamps, askSlopes, askSource, askValues } from "./pixelask.js";
import { flagNames, linesThrough, slopeThrough, usableRuns } from "./rampfit.js";
import { serialOf } from "../words.js";

/** Integrations that have an entry of their own in the legend. */
const MOST_NAMED = 12;
/** Milliseconds that the rates of a ramp may take before it is drawn without them; they are drawn when they come. */
const PATIENCE = 120;
const LATE = Symbol("late");
/** How flags of a group are marked; all other flags are "other". */
const MARKS = {
  DO_NOT_USE: { shape: "cross", colour: "#a3152a", radius: 4 },
  SATURATED: { shape: "square", colour: "#8a4b00", hollow: true, radius: 5 },
  JUMP_DET: { shape: "up", colour: "#6a1b9a", hollow: true, radius: 5 },
  other: { shape: "diamond", colour: "#55606e", hollow: true, radius: 4.5 },
};

/** Show the ramps of a pixel with a choice of exposures. @param {object} options - serial, onVersion(serial), onOpen(record). */
export async function loadRamps(asked, options, signal) {
  const [list, wanted] = await Promise.all([askRamps(asked, signal), rampSerial(asked, options.serial, signal)]);
  const versions = wanted && !list.some(({ serial }) => serial === wanted.serial) ? [...list, wanted] : list;
  if (!versions.length) return h("p.empty", {}, "The pool has no Ramp or Raw that covers this pixel.");
  const browser = new RampBrowser(asked, versions, options, signal);
  await browser.choose(wanted ? wanted.serial : versions[0].serial, { first: true });
  return browser.element;
}

/** Give the version of ramps that a serial number means: itself, or what it was made from; null for none. */
async function rampSerial(asked, serial, signal) {
  if (!serial) return null;
  try {
    const answer = await askValues(asked, serial, signal);
    if (isRamp(answer.urn)) return { serial: Number(serial), urn: answer.urn, name: answer.urn, answer };
    const source = await askSource(asked.pool, serial, signal);
    return source === null ? null : { serial: source, name: `version with the serial number ${source}` };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null; // it does not cover the pixel, or is gone: the newest one is shown
  }
}

function isRamp(urn) {
  return /:(Ramp|Raw):\d+$/.test(urn);
}

class RampBrowser {
  constructor(asked, versions, options, signal) {
    Object.assign(this, { asked, versions, options, signal, stop: null });
    this.select = h(
      "select",
      { "aria-label": "Exposure", on: { change: () => this.choose(Number(this.select.value)) } },
      versions.map((one) => h("option", { value: String(one.serial) }, titleOf(one))),
    );
    this.earlier = h("button", { type: "button", on: { click: () => this.step(1) } }, "‹ Previous");
    this.later = h("button", { type: "button", on: { click: () => this.step(-1) } }, "Next ›");
    this.place = h("div");
    this.element = h("div", {}, h("div.row.ramp-choice", {}, this.earlier, this.select, this.later), this.place);
  }

  step(by) {
    const at = this.versions.findIndex(({ serial }) => serial === this.serial);
    const next = this.versions[at + by];
    if (next) this.choose(next.serial);
  }

  async choose(serial, { first = false } = {}) {
    this.serial = serial;
    this.select.value = String(serial);
    const at = this.versions.findIndex((one) => one.serial === serial);
    this.earlier.disabled = at === this.versions.length - 1;
    this.later.disabled = at === 0;
    if (!first) this.options.onVersion(serial);
    this.stop?.abort();
    const mine = (this.stop = new AbortController());
    this.signal.addEventListener("abort", () => mine.abort());
    try {
      const shown = await showRamps(this.asked, serial, { ...this.options, known: this.versions[at]?.answer }, mine.signal);
      if (!mine.signal.aborted) fill(this.place, shown);
    } catch (error) {
      if (error.name !== "AbortError" && !mine.signal.aborted)
        fill(
          this.place,
          problemOf(error, () => this.choose(serial)),
        );
    }
  }
}

function titleOf({ name, version, urn, start_time }) {
  const kind = urn?.split(":").at(-2) ?? "";
  return version === undefined
    ? name
    : `${kind} ${name} version ${version}${start_time ? `, ${timeText(seconds(start_time))}` : ""}`;
}

/** Show the ramps of a pixel in one version. @param {object} options - compact, integration (from 1), known: the values, onOpen. */
export async function showRamps(asked, serial, options, signal) {
  const asking = askSlopes(asked, serial, signal).catch(() => null); // then lines are fitted
  const answer = options.known ?? (await askValues(asked, serial, signal));
  const rates = await Promise.race([
    asking,
    new Promise((done) => {
      setTimeout(done, PATIENCE, LATE);
    }),
  ]);
  if (!rampsOf(answer, null).lines.length) return h("p.empty", {}, "This version holds no ramps.");
  const element = h("div");
  const draw = (found) => fill(element, drawn(rampsOf(answer, found), asked, options, signal));
  draw(rates === LATE ? null : rates);
  if (rates === LATE)
    asking.then((found) => {
      if (found && !signal.aborted) draw(found);
    });
  return element;
}

function drawn(ramps, asked, options, signal) {
  const place = h("div");
  const draw = (only) => fill(place, makeChart(specOf(ramps, asked, only, options), signal));
  draw(null);
  return [
    h(
      "p.faint.part-note",
      {},
      h("span", {}, slopeText(ramps)),
      ramps.lines.length > MOST_NAMED ? integrationChoice(ramps, draw) : null,
    ),
    place,
  ];
}

function integrationChoice({ lines }, draw) {
  const change = (event) => draw(event.target.value === "" ? null : Number(event.target.value));
  return h(
    "label.inline",
    {},
    "Integration ",
    h(
      "select",
      { on: { change } },
      h("option", { value: "" }, `all ${lines.length}`),
      lines.map((_, i) => h("option", { value: String(i) }, String(i + 1))),
    ),
  );
}

/** Give the ramps of an answer: { lines, tgroup (s, or null), unit, from, pixelFlags, urn }. */
function rampsOf({ urn, values, time, flags: bits = {} }, rates) {
  const science = (Array.isArray(values.SCI?.[0]) ? values.SCI : []).map((ramp) => ramp.map(num));
  const tgroup = time?.TGROUP > 0 ? time.TGROUP : null;
  const useRates = rates !== null && tgroup !== null && rates.rates.length === science.length;
  const lines = science.map((ramp, i) => {
    const flags = ramp.map((_, group) => flagNames(values.GROUPDQ?.[i]?.[group] ?? 0, bits));
    const runs = usableRuns(ramp, flags);
    const fitted = slopeThrough(ramp, runs) / (tgroup ?? 1);
    const slope = useRates ? num(rates.rates[i]) : fitted;
    return {
      values: ramp,
      flags,
      slope,
      error: useRates ? num(rates.errors[i]) : NaN,
      pieces: linesThrough(ramp, runs, slope * (tgroup ?? 1)),
    };
  });
  return {
    lines,
    tgroup,
    unit: tgroup === null ? "DN/group" : "DN/s",
    from: useRates ? rates.text : null,
    pixelFlags: flagNames(values.PIXELDQ ?? 0, bits),
    urn,
    hasFlags: values.GROUPDQ !== undefined,
  };
}

function slopeText({ lines, from, pixelFlags, hasFlags }) {
  const dashed = from
    ? `Dashed: the rates of ${from}.`
    : `Dashed: a straight line by least squares through ${hasFlags ? "the usable groups between jumps" : "all groups"}.`;
  const pixel = pixelFlags.length ? ` The pixel has the flags ${pixelFlags.join(", ")}.` : "";
  const none = lines.some(({ slope }) => !Number.isFinite(slope)) ? " An integration without a dashed line has no slope." : "";
  return dashed + none + pixel;
}

function specOf(ramps, asked, only, { compact, integration, onOpen }) {
  const { lines, tgroup, unit } = ramps;
  const chosen = lines.map((line, i) => ({ ...line, i })).filter(({ i }) => only === null || i === only);
  const found = new Set(chosen.flatMap(({ flags }) => flags.flat().map((name) => (name in MARKS ? name : "other"))));
  const number = ramps.lines.length;
  return {
    label: `Ramps of pixel x ${asked.x}, y ${asked.y} in ${ramps.urn}: ${number} integration${number === 1 ? "" : "s"} of ${lines[0].values.length} groups. ${slopeText(ramps)}`,
    x: tgroup === null ? { label: "group", whole: true } : { label: "time since the first group (s)" },
    y: { label: "signal (DN)" },
    series: [
      ...chosen.map((line) => groupSeries(line, ramps, integration)),
      ...chosen.flatMap((line) => slopeSeries(line, ramps)),
    ],
    keys: Object.keys(MARKS)
      .filter((name) => found.has(name))
      .map((name) => ({ ...MARKS[name], name: name === "other" ? "other flags" : name })),
    columns: [
      { text: "group", of: ({ group }) => String(group + 1) },
      { text: "signal (DN)", of: ({ y }) => numberText(y, 8) },
      { text: "GROUPDQ", of: ({ names }) => names.join(", ") },
      { text: "slope", of: (_, { slope, error }) => withError(slope, error, unit) },
    ],
    table: () => tableOf(ramps),
    height: compact ? 240 : 300,
    onPick: onOpen,
    pickText: "open this group",
  };
}

function colourOf(i, number) {
  if (number <= PALETTE.length) return PALETTE[i];
  const [red, green, blue] = colours256("viridis")[Math.round((200 * i) / (number - 1))];
  return `rgb(${red},${green},${blue})`;
}

function groupSeries({ i, values, flags, slope, error }, { lines, tgroup, unit, urn }, integration) {
  const name = `integration ${i + 1}`,
    chosen = integration === i + 1 && lines.length > 1;
  return {
    name,
    slope,
    error,
    colour: colourOf(i, lines.length),
    line: true,
    width: chosen ? 3 : 1.4,
    text: `${i + 1}: ${Number.isFinite(slope) ? `${numberText(slope, 4)} ${unit}` : "no slope"}`,
    legend: lines.length <= MOST_NAMED,
    shape: lines.length * values.length <= 300 ? "circle" : null,
    radius: chosen ? 3.2 : 2.2,
    points: values.map((y, group) => ({
      x: tgroup === null ? group + 1 : group * tgroup,
      y,
      group,
      names: flags[group],
      record: { urn, integration: i + 1, group: group + 1 },
      marks: [...new Set(flags[group].map((one) => (one in MARKS ? one : "other")))].map((one) => MARKS[one]),
    })),
  };
}

function slopeSeries({ i, pieces }, { lines, tgroup }) {
  const scale = ([group, value]) => ({ x: tgroup === null ? group + 1 : group * tgroup, y: value });
  return pieces.map((piece) => ({
    name: "slopes",
    of: `integration ${i + 1}`,
    decoration: true,
    colour: colourOf(i, lines.length),
    line: true,
    dash: [7, 4],
    width: 2,
    points: piece.map(scale),
  }));
}

function tableOf({ lines, tgroup, unit, urn }) {
  const many = lines.slice(0, 40);
  const cell = ({ values, flags }, group) =>
    numberText(values[group], 8) + (flags[group].length ? ` ${flags[group].join(", ")}` : "");
  const first = {
    cells: [`slope (${unit})`, ...(tgroup === null ? [] : [""]), ...many.map(({ slope, error }) => withError(slope, error))],
  };
  return {
    columns: [
      { text: "group" },
      ...(tgroup === null ? [] : [{ text: "time (s)", number: true }]),
      ...many.map((_, i) => ({ text: `integration ${i + 1} (DN)`, number: true })),
    ],
    rows: [
      first,
      ...lines[0].values.map((_, group) => ({
        cells: [
          String(group + 1),
          ...(tgroup === null ? [] : [numberText(group * tgroup)]),
          ...many.map((line) => cell(line, group)),
        ],
        record: { urn, integration: 1, group: group + 1 },
      })),
    ],
  };
}

/** Give the ramps that belong to a version that is shown: its own, or those of the ramp that it was made from. */
export async function loadRampsOf(asked, answer, options, signal) {
  const shown = serialOf(answer.urn);
  if (isRamp(answer.urn)) return showRamps(asked, shown, { ...options, known: answer }, signal);
  const source = await askSource(asked.pool, shown, signal);
  if (source === null) return h("p.empty", {}, "The pool does not know the ramp that this version was made from.");
  return showRamps(asked, source, options, signal);
}
