// The histogram of a frame, with limits that can be dragged, and the colour bar.

import { colours256, mapOf } from "./colours.js";
import { fill, h } from "../dom.js";
import { extent, histogram, percentileLimits, short } from "./scales.js";

const HEIGHT = 96;
const BINS = 160;
/** How near to a limit's line, in CSS pixels, a press takes hold of it. */
const NEAR = 12;

/** Histogram on a canvas. It draws the number of pixels on a log scale, and a line for each limit. */
export class Histogram {
  /**
   * @param {function(number, number, boolean)} onLimits - takes new limits; the boolean is true while they are dragged.
   * @param {AbortSignal} signal - ends listening.
   */
  constructor(onLimits, signal) {
    this.canvas = h("canvas.iv-histogram", { role: "img", "aria-label": "Histogram of the frame" });
    this.ends = h("div.iv-ends", { "aria-hidden": "true" });
    this.element = h("div", {}, this.canvas, this.ends);
    Object.assign(this, { onLimits, values: null, range: [0, 1], limits: [0, 1], counts: null, held: null });
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(this.canvas);
    signal.addEventListener("abort", () => sizes.disconnect());
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.canvas.addEventListener(name, (event) => this[name](event), { signal });
    }
  }

  /** Show the values of a frame (nx: its columns) and the limits; `colours` is the map's name. */
  update(values, nx, [lo, hi], colours) {
    const again = values !== this.values;
    Object.assign(this, { values, limits: [lo, hi], colours });
    if (this.held !== null) return this.draw();
    const outside = lo < this.range[0] || hi > this.range[1] || (hi - lo) * 8 < this.range[1] - this.range[0];
    if (again || outside) this.count(values, nx, lo, hi);
    return this.draw();
  }

  count(values, nx, lo, hi) {
    const about = extent(values);
    let [from, to] = percentileLimits(values, 99.9, nx, about);
    if (!about.count) [from, to] = [lo, hi];
    from = Math.max(Math.min(from, lo), lo - 4 * (hi - lo)); // far outliers must not press the rest into one bin
    to = Math.min(Math.max(to, hi), hi + 4 * (hi - lo));
    const edge = 0.04 * (to - from) || 0.5;
    this.range = [from - edge, to + edge];
    this.counts = histogram(values, ...this.range, BINS);
    const beyond = about.count - this.counts.reduce((sum, n) => sum + n, 0);
    this.canvas.setAttribute("aria-label", this.inWords(about, beyond));
    const between = beyond ? `${beyond.toLocaleString("en")} beyond` : "pixels, log scale";
    fill(this.ends, h("span", {}, short(this.range[0], 4)), h("span", {}, between), h("span", {}, short(this.range[1], 4)));
  }

  inWords({ count, min, max }, beyond) {
    if (!count) return "Histogram: no pixel has a finite value";
    return `Histogram of ${count} finite values from ${short(min)} to ${short(max)}; ${beyond} are beyond the drawing`;
  }

  /** Give the place of a value on the canvas, CSS pixels from the left. */
  placeOf(value) {
    return ((value - this.range[0]) / (this.range[1] - this.range[0])) * this.canvas.clientWidth;
  }

  draw() {
    const { canvas } = this, width = canvas.clientWidth, ratio = devicePixelRatio || 1;
    if (!width || !this.counts) return;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(HEIGHT * ratio) });
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const [lo, hi] = this.limits.map((value) => this.placeOf(value));
    pen.fillStyle = "#e2edf8";
    pen.fillRect(lo, 0, hi - lo, HEIGHT);
    pen.fillStyle = "#51657c";
    const most = Math.log1p(this.counts.reduce((a, b) => Math.max(a, b), 1)), step = width / BINS;
    this.counts.forEach((n, i) => {
      const tall = (Math.log1p(n) / most) * (HEIGHT - 8);
      pen.fillRect(i * step, HEIGHT - tall, Math.max(1, step - 0.3), tall);
    });
    pen.fillStyle = "#b45309";
    for (const at of [lo, hi]) {
      pen.fillRect(at - 1, 0, 2, HEIGHT);
      pen.fillRect(at - 4, 0, 8, 8);
    }
  }

  pointerdown(event) {
    if (event.button || !this.counts) return;
    const away = this.limits.map((value) => Math.abs(this.placeOf(value) - event.offsetX));
    const nearest = away[0] <= away[1] ? 0 : 1;
    if (away[nearest] > NEAR) return;
    this.held = nearest;
    this.canvas.setPointerCapture(event.pointerId);
  }

  pointermove(event) {
    const away = this.limits.map((value) => Math.abs(this.placeOf(value) - event.offsetX));
    this.canvas.style.cursor = this.held !== null || Math.min(...away) <= NEAR ? "ew-resize" : "default";
    if (this.held !== null) this.tell(event, true);
  }

  pointerup(event) {
    if (this.held === null) return;
    this.tell(event, false);
    this.held = null;
  }

  pointercancel() {
    this.held = null;
  }

  tell(event, dragging) {
    const [from, to] = this.range, at = Math.max(0, Math.min(1, event.offsetX / this.canvas.clientWidth));
    const value = Number((from + at * (to - from)).toPrecision(5)), least = (to - from) / 1000;
    const [lo, hi] = this.limits;
    if (this.held === 0) this.onLimits(Math.min(value, hi - least), hi, dragging);
    else this.onLimits(lo, Math.max(value, lo + least), dragging);
  }
}

/** The colour bar: the map from the low to the high limit, values below it, and the colour of NaN. */
export class ColourBar {
  /** @param {...Node} beside - stand at its left. */
  constructor(...beside) {
    this.bar = h("canvas.iv-ramp", { width: 256, height: 1, "aria-hidden": "true" });
    this.numbers = h("div.iv-numbers");
    this.swatch = h("span.iv-swatch", { "aria-hidden": "true" });
    this.nan = h("span.iv-nan");
    this.unit = h("span.iv-unit");
    this.element = h("div.iv-colourbar", {}, beside, h("div.iv-scale", {}, this.bar, this.numbers),
      h("div.iv-legend", {}, this.unit, h("span.iv-key", {}, this.swatch, this.nan)));
  }

  /** Show a map between limits; `back` gives the place between the limits of a place on the bar; `words` stand for numbers. */
  update(colours, [lo, hi], back, unit, nanCount, words = null) {
    const image = new ImageData(256, 1);
    colours256(colours).forEach(([red, green, blue], i) => image.data.set([red, green, blue, 255], 4 * i));
    this.bar.getContext("2d").putImageData(image, 0, 0);
    const digits = lo !== 0 && Math.abs(hi - lo) < 1e-3 * Math.abs(lo) ? 8 : 4;
    const numbers = words ?? [0, 0.25, 0.5, 0.75, 1].map((at) => short(lo + back(at) * (hi - lo), digits));
    this.numbers.classList.toggle("iv-words", words !== null);
    fill(this.numbers, numbers.map((text) => h("span", {}, text)));
    const map = mapOf(colours);
    this.swatch.style.background = map.nan;
    fill(this.nan, `NaN (${map.nanName}): ${nanCount.toLocaleString("en")} px`);
    fill(this.unit, unit || "no unit");
  }
}
