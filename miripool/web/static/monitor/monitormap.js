// The map of a monitor: states or rates of all pixels of a stratum, at an exposure that a slider chooses.

import { getArray, poolPath } from "../api.js";
import { stateStyle, stateSwatch, swatch } from "../charts/chartmarks.js";
import { numberText, seconds, timeText } from "../charts/chartvalues.js";
import { colours256, lookupTable, packedHex } from "../image/colours.js";
import { fill, h } from "../dom.js";
import { problemOf } from "../parts.js";
import { StateCanvas } from "./statecanvas.js";

const GROUND = "#eef1f5",
  NO_RATE = "#9aa5b1";
const UNUSABLE = 255;
/** Maps that are kept, so that going back and forth is quick; a map of the FULL array has a megabyte. */
const KEPT = 24;
/** Milliseconds that the slider rests before a map is asked for. */
const REST = 80;

/** Make the part of the page with the map. */
export function mapPart(page, signal) {
  return new MonitorMap(page, signal);
}

class MonitorMap {
  constructor(page, signal) {
    Object.assign(this, { page, signal, kept: new Map(), off: new Set(), stop: null, timer: 0, values: null });
    const { times } = page.stratum;
    this.what = page.state.what === "rate" ? "rate" : "state";
    this.index = indexAt(times, page.state.at);
    this.canvas = h("canvas.mon-canvas", { role: "img", tabindex: "0" });
    this.readout = h("p.mon-readout", { "aria-live": "off" });
    this.legend = h("div.mon-legend");
    this.problem = h("div");
    this.element = h(
      "section.part",
      {},
      h("div.part-head", {}, h("h2", {}, "Detector map"), this.controls()),
      this.sliderRow(),
      this.problem,
      h("div.mon-map", {}, h("div", {}, h("div.mon-stage", {}, this.canvas), this.readout), this.legend),
    );
    this.view = new StateCanvas(
      this.canvas,
      {
        onView() {},
        onHover: (pixel) => this.hover(pixel),
        onPick: ({ x, y }) => page.go(page.pixelState(x, y)),
      },
      signal,
    );
    this.letPageScroll();
    this.hover(null);
    signal.addEventListener("abort", () => {
      this.stop?.abort();
      clearTimeout(this.timer);
    });
    this.load();
  }

  // ---- controls -----------------------------------------------------------------------------------------------

  controls() {
    const what = h(
      "select",
      { on: { change: (event) => this.choose(event.target.value) } },
      [
        ["state", "states"],
        ["rate", "rates (DN/s)"],
      ].map(([value, text]) => h("option", { value, selected: value === this.what }, text)),
    );
    const button = (text, label, act) =>
      h("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
    return h(
      "div.mon-controls",
      {},
      h("label", {}, "Show ", what),
      button("+", "Zoom in", () => this.view.zoomBy(1.6)),
      button("−", "Zoom out", () => this.view.zoomBy(1 / 1.6)),
      button("Fit", "Show the whole map", () => this.view.fit()),
    );
  }

  sliderRow() {
    const last = this.page.stratum.times.length - 1;
    this.slider = h("input", {
      type: "range",
      min: 0,
      max: Math.max(last, 0),
      step: 1,
      value: this.index,
      disabled: last < 1,
      "aria-label": "Exposure of the map",
      on: { input: () => this.goTo(Number(this.slider.value)) },
    });
    this.when = h("output.nowrap");
    this.before = h(
      "button",
      { type: "button", "aria-label": "Previous exposure", on: { click: () => this.goTo(this.index - 1) } },
      "‹",
    );
    this.after = h(
      "button",
      { type: "button", "aria-label": "Next exposure", on: { click: () => this.goTo(this.index + 1) } },
      "›",
    );
    return h("div.mon-slider", {}, this.before, this.slider, this.after, this.when);
  }

  choose(what) {
    this.what = what;
    this.page.keep({ what: what === "state" ? "" : what });
    this.load();
  }

  goTo(index) {
    const { times } = this.page.stratum;
    this.index = Math.min(times.length - 1, Math.max(0, index));
    this.sync();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.page.keep({ at: this.index === times.length - 1 ? "" : times[this.index] });
      this.load();
    }, REST);
  }

  sync() {
    const { times } = this.page.stratum,
      last = times.length - 1;
    this.slider.value = String(this.index);
    this.before.disabled = this.index === 0;
    this.after.disabled = this.index === last;
    const when = timeText(seconds(times[this.index]));
    this.when.textContent = `${this.index + 1} of ${last + 1}: ${when}`;
    this.slider.setAttribute("aria-valuetext", `exposure ${this.index + 1} of ${last + 1}, ${when} UTC`);
  }

  /** The wheel zooms with Ctrl only; else it scrolls the page. */
  letPageScroll() {
    this.canvas.parentElement.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) event.stopPropagation();
      },
      { capture: true, passive: true, signal: this.signal },
    );
  }

  // ---- data ---------------------------------------------------------------------------------------------------

  ask(what, index, signal) {
    const { pool, name, stratum } = this.page;
    const key = `${what} ${index}`;
    if (!this.kept.has(key)) {
      const answer = getArray(
        poolPath(pool, "monitors", name, "map"),
        { what, at: stratum.times[index], stratum: String(stratum.number) },
        signal,
      );
      answer.catch(() => this.kept.delete(key));
      if (this.kept.size >= KEPT) this.kept.delete(this.kept.keys().next().value);
      this.kept.set(key, answer);
    }
    return this.kept.get(key);
  }

  async load() {
    this.sync();
    this.stop?.abort();
    const mine = (this.stop = new AbortController());
    try {
      const { values, shape } = await this.ask(this.what, this.index, mine.signal);
      if (mine.signal.aborted) return;
      fill(this.problem);
      this.show(values, shape);
    } catch (error) {
      if (error.name === "AbortError" || mine.signal.aborted) return;
      fill(
        this.problem,
        problemOf(error, () => this.load()),
      );
    }
  }

  show(values, [ny, nx]) {
    const { place } = this.page.stratum;
    this.values = values;
    this.hover(null);
    this.shape = [ny, nx];
    this.view.setFrame({ values, nx, ny, x: place.x, y: place.y });
    if (this.what === "rate") this.showRates(values);
    else this.showStates(values);
  }

  // ---- states -------------------------------------------------------------------------------------------------

  showStates(values) {
    // Codes of states look like the ground: their marks are drawn above it, large enough to be seen.
    this.view.setLookup({
      table: Uint32Array.of(packedHex(GROUND), packedHex(NO_RATE)),
      lo: 0,
      hi: 2 * UNUSABLE,
      nan: packedHex(NO_RATE),
    });
    const counts = new Array(256).fill(0);
    for (const code of values) counts[code]++;
    this.counts = counts;
    this.mark();
    const { known_states: states } = this.page.about;
    const present = states.map((name, i) => ({ name, code: i + 1 })).filter(({ code }) => counts[code]);
    fill(
      this.legend,
      present.map(({ name, code }) => this.stateButton(name, counts[code])),
      present.length ? null : h("span.faint", {}, "No pixel is in any state at this exposure."),
      h("span.chart-key", {}, swatch({ colour: GROUND, band: "full" }), "no state", countOf(counts[0])),
      counts[UNUSABLE]
        ? h("span.chart-key", {}, swatch({ colour: NO_RATE, band: "full" }), "no usable rate", countOf(counts[UNUSABLE]))
        : null,
      this.hint(),
    );
    const told = present.map(({ name, code }) => `${name} ${counts[code]}`).join(", ");
    this.canvas.setAttribute(
      "aria-label",
      `Map of the states at ${timeText(seconds(this.page.stratum.times[this.index]))} UTC: ${told || "none"}. The same is in the table of episodes.`,
    );
  }

  stateButton(name, count) {
    const button = h(
      "button.chart-key",
      { type: "button", "aria-pressed": String(!this.off.has(name)) },
      swatch(stateSwatch(name)),
      name,
      countOf(count),
    );
    button.addEventListener("click", () => {
      if (!this.off.delete(name)) this.off.add(name);
      button.setAttribute("aria-pressed", String(!this.off.has(name)));
      this.mark();
    });
    return button;
  }

  mark() {
    const { known_states: states } = this.page.about,
      { place } = this.page.stratum;
    const colours = states.map((name) => (this.off.has(name) ? null : stateStyle(name).colour));
    const marks = [],
      [, nx] = this.shape;
    for (let i = 0; i < this.values.length; i++) {
      const code = this.values[i];
      if (code && code !== UNUSABLE && colours[code - 1])
        marks.push({
          x: place.x + (i % nx),
          y: place.y + Math.floor(i / nx),
          colour: colours[code - 1],
          shape: stateStyle(states[code - 1]).shape,
          code,
        });
    }
    marks.sort((a, b) => this.counts[b.code] - this.counts[a.code]); // what is rare lies above what is frequent
    this.view.setMarks(marks);
  }

  hint() {
    return h("p.faint", {}, "Click a pixel to open its page. Drag to move the map; the wheel with Ctrl zooms.");
  }

  // ---- rates --------------------------------------------------------------------------------------------------

  showRates(values) {
    const [lo, hi] = limitsOf(values);
    this.view.setMarks([]);
    this.view.setLookup({ table: lookupTable("viridis", (t) => t), lo, hi, nan: packedHex(NO_RATE) });
    fill(
      this.legend,
      barOf(),
      h("div.mon-ends", {}, h("span", {}, numberText(lo, 4)), h("span", {}, "DN/s"), h("span", {}, numberText(hi, 4))),
      h("p.faint", {}, "Colours end 5 robust standard deviations from the median."),
      h("span.chart-key", {}, swatch({ colour: NO_RATE, band: "full" }), "no usable rate"),
      this.hint(),
    );
    this.canvas.setAttribute(
      "aria-label",
      `Map of the rates at ${timeText(seconds(this.page.stratum.times[this.index]))} UTC, from ${numberText(lo, 3)} to ${numberText(hi, 3)} DN/s.`,
    );
  }

  // ---- pointer ------------------------------------------------------------------------------------------------

  hover(pixel) {
    const { place } = this.page.stratum;
    if (!pixel || !this.values) {
      this.readout.textContent = `Columns x ${place.x} … ${place.x + place.columns - 1}, rows y ${place.y} … ${place.y + place.rows - 1}`;
      return;
    }
    const near = this.what === "state" ? (this.view.markAt(pixel) ?? pixel) : pixel;
    const value = this.values[(near.y - place.y) * this.shape[1] + near.x - place.x];
    this.readout.textContent = `x ${near.x}, y ${near.y}: ${this.tell(value)}`;
  }

  tell(value) {
    if (this.what === "rate") return Number.isNaN(value) ? "no usable rate" : `${numberText(value)} DN/s`;
    if (value === UNUSABLE) return "no usable rate";
    return value ? this.page.about.known_states[value - 1] : "no state";
  }
}

function countOf(number) {
  return h("span.count", {}, number.toLocaleString("en"));
}

/** Give the exposure that was the last one at a time, from 0; the last of all where none is given. */
function indexAt(times, at) {
  const moment = Date.parse(at ?? "");
  if (!Number.isFinite(moment)) return times.length - 1;
  return Math.max(
    0,
    times.findLastIndex((time) => Date.parse(time) <= moment),
  );
}

/** Give the limits of the colours: the median, and 5 robust standard deviations to both sides. */
function limitsOf(values) {
  const step = Math.max(1, Math.floor(values.length / 200_000));
  const sample = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) sample.push(values[i]);
  if (!sample.length) return [0, 1];
  const middle = half(sample),
    sigma = 1.4826 * half(sample.map((v) => Math.abs(v - middle)));
  return sigma > 0 ? [middle - 5 * sigma, middle + 5 * sigma] : [middle - 0.5, middle + 0.5];
}

function half(numbers) {
  const sorted = Float64Array.from(numbers).sort();
  return sorted[sorted.length >> 1];
}

function barOf() {
  const canvas = h("canvas.mon-bar", { width: 256, height: 1, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  colours256("viridis").forEach(([red, green, blue], i) => {
    pen.fillStyle = `rgb(${red},${green},${blue})`;
    pen.fillRect(i, 0, 1, 1);
  });
  return canvas;
}
