// Charts. The one place that uses uPlot, which makes axes, grid and zoom; series, bands and events are drawn on its canvas.
//
// A chart is described by: label (a sentence), x and y ({ label, time }), series, bands, events, columns, keys, onPick(record).
// series: { name, of (hidden with that one), colour, shape, line: true|"steps", dash, width, points, hidden, decoration, loose, legend: false }.
//   points: { x, y, lo, hi, hollow, shape, radius, marks, record }; x of times is seconds since 1970, UTC; NaN is no value.
//   A decoration is no data: it has no tooltip and no row in the table. A loose series does not count for the range of y.
// bands: { name, from, to, colour, text }; events: { x, name, text }; keys: what else the legend explains, as series.
// columns: [{ text, number, of(point, series) }], for the tooltip and the table.

import { clipped, drawBandNames, drawBands, drawEvents, drawSeries, STRIP, topRoom } from "./chartdraw.js";
import { swatch } from "./chartmarks.js";
import { rangeOfX, rangeOfY } from "./chartrange.js";
import { chartTable } from "./charttable.js";
import { numberText, timeTicks } from "./chartvalues.js";
import { fill, h } from "../dom.js";
import uPlot from "../vendor/uplot/uPlot.esm.js";

/** CSS pixels within which the pointer is at a point, and at an event. */
const NEAR = 22;
const AT_EVENT = 6;
const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
const TEXT = "#3c4754";

/** Make a chart; gives its element. It ends with the signal, or when it leaves the page. */
export function makeChart(spec, signal) {
  return new Chart(spec, signal).element;
}

class Chart {
  constructor(spec, signal) {
    Object.assign(this, { spec, signal, plot: null, spots: [], near: null, whole: rangeOfX(spec), off: new Set() });
    for (const one of spec.series) if (one.hidden) this.off.add(one.name);
    this.ring = h("div.chart-ring", { hidden: true });
    this.tip = h("div.chart-tip", { hidden: true });
    this.place = h("div.chart-plot", { role: "img", "aria-label": spec.label });
    this.back = h("button", { type: "button", hidden: true, on: { click: () => this.showAll() } }, "Whole range");
    this.table = h("div.chart-table", { hidden: true });
    this.tableButton = h(
      "button",
      { type: "button", "aria-expanded": "false", on: { click: () => this.toggleTable() } },
      "Table",
    );
    this.element = h(
      "figure.chart",
      {},
      h("div.chart-head", {}, this.legend(), h("div.chart-buttons", {}, this.back, this.tableButton)),
      h("div.chart-box", {}, this.place, this.ring, this.tip),
      this.table,
    );
    this.element.addEventListener("pointerleave", ({ pointerType }) => {
      if (pointerType !== "touch") this.leave();
    });
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.place);
    signal?.addEventListener("abort", () => this.end());
  }

  end() {
    this.sizes.disconnect();
    this.plot?.destroy();
    this.plot = null;
  }

  get shown() {
    return this.spec.series.filter(({ name, of }) => !this.off.has(name) && !this.off.has(of));
  }

  get bands() {
    return (this.spec.bands ?? []).filter(({ name }) => !this.off.has(`band ${name}`));
  }

  get events() {
    return this.off.has("events") ? [] : (this.spec.events ?? []);
  }

  // ---- legend and table ---------------------------------------------------------------------------------------

  legend() {
    const { series, bands = [], events = [], keys = [] } = this.spec;
    const names = new Map();
    for (const one of series) if (one.legend !== false && !names.has(one.name)) names.set(one.name, one);
    const states = new Map(bands.map((band) => [band.name, band]));
    return h(
      "div.chart-legend",
      { role: "group", "aria-label": "Legend; each button shows or hides a series" },
      [...names].map(([name, one]) => this.toggle(name, one.text ?? name, one)),
      [...states].map(([name, band]) => this.toggle(`band ${name}`, name, { colour: band.colour, band: true })),
      events.length ? this.toggle("events", "events", { colour: "#8a4b00", line: true, dash: [5, 3] }) : null,
      keys.map((key) => h("span.chart-key", {}, swatch(key), key.name)),
    );
  }

  toggle(key, text, look) {
    const button = h("button.chart-key", { type: "button", "aria-pressed": String(!this.off.has(key)) }, swatch(look), text);
    button.addEventListener("click", () => {
      if (!this.off.delete(key)) this.off.add(key);
      button.setAttribute("aria-pressed", String(!this.off.has(key)));
      this.leave();
      this.rescale();
      this.plot?.redraw();
    });
    return button;
  }

  toggleTable() {
    const open = this.table.hidden;
    if (open && !this.table.firstChild) fill(this.table, chartTable(this.spec));
    this.table.hidden = !open;
    this.tableButton.setAttribute("aria-expanded", String(open));
  }

  // ---- uPlot --------------------------------------------------------------------------------------------------

  get height() {
    return this.spec.height ?? 280;
  }

  resize() {
    if (this.plot && !this.place.isConnected) return this.end();
    const width = Math.floor(this.place.clientWidth);
    if (!width) return undefined;
    if (!this.plot) return this.build(width);
    if (width !== this.plot.width) {
      this.leave();
      this.plot.setSize({ width, height: this.height });
      this.rescale();
    }
    return undefined;
  }

  build(width) {
    const { x } = this.spec;
    const keep = (u, low, high) => (high - low > this.least ? [low, high] : [u.scales.x.min ?? low, u.scales.x.max ?? high]);
    this.plot = new uPlot(
      {
        width,
        height: this.height,
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, dist: 6 } },
        scales: {
          x: { time: Boolean(x.time), range: keep },
          y: { auto: false, range: (u, low, high) => (low < high ? [low, high] : this.rangeOfY(this.whole)) },
        },
        tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
        series: [{}, { paths: () => null, points: { show: false } }],
        axes: this.axes(),
        hooks: {
          setScale: [
            (u, key) => {
              if (key === "x") this.zoomed(u);
            },
          ],
          drawClear: [(u) => drawBands(u, this.bands)],
          draw: [(u) => this.draw(u)],
        },
      },
      [this.whole, this.rangeOfY(this.whole)],
      this.place,
    );
    this.listen(this.plot.over);
  }

  /** The narrowest range of x that can be zoomed to: a millisecond, or a millionth of the whole. */
  get least() {
    return this.spec.x.time ? 2e-3 : 1e-6 * (this.whole[1] - this.whole[0]);
  }

  /** Whether anything has a place on the axis of x; without, its ticks would say nothing. */
  get anyX() {
    return this.spec.series.some(({ points }) => points.some(({ x }) => Number.isFinite(x)));
  }

  axes() {
    const { x, y } = this.spec;
    const look = {
      stroke: TEXT,
      font: FONT,
      labelFont: FONT,
      grid: { stroke: "#e3e8ee", width: 1 },
      ticks: { stroke: "#b8c2ce", width: 1, size: 5 },
    };
    const plain = (u, ticks) => ticks.map((tick) => numberText(tick, 7));
    return [
      {
        ...look,
        label: x.label,
        labelSize: 18,
        size: x.time ? 44 : 30,
        space: x.time ? 62 : 50,
        values: x.time ? (u, ticks, axis, space, step) => (this.anyX ? timeTicks(ticks, step) : ticks.map(() => "")) : plain,
        ...(x.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] } : {}),
      },
      {
        ...look,
        label: y.label,
        labelSize: 20,
        space: 34,
        size: (u, values) => 16 + 7.7 * Math.max(3, ...(values ?? []).map((v) => String(v).length)),
        values: plain,
        ...(y.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000] } : {}),
      },
    ];
  }

  rangeOfY(range) {
    const room = topRoom({ bands: this.bands, events: this.events }) / Math.max(80, this.height - 80);
    return rangeOfY(this.shown, range, room, this.spec.y.fromZero);
  }

  zoomed(u) {
    const { min, max } = u.scales.x,
      [low, high] = this.whole;
    const room = 1e-6 * (high - low);
    this.back.hidden = !(min > low + room || max < high - room);
    this.leave();
    this.rescale();
  }

  rescale() {
    const u = this.plot;
    if (!u) return;
    const [min, max] = this.rangeOfY([u.scales.x.min, u.scales.x.max]);
    if (min !== u.scales.y.min || max !== u.scales.y.max) u.setScale("y", { min, max });
  }

  showAll() {
    this.plot?.setScale("x", { min: this.whole[0], max: this.whole[1] });
    this.tableButton.focus();
  }

  draw(u) {
    const ratio = uPlot.pxRatio;
    drawBandNames(u, this.bands, ratio);
    drawEvents(u, this.events, this.bands.length > 0, ratio);
    this.spots = drawSeries(u, this.shown, ratio);
    if (!this.spots.length) {
      clipped(u, (pen) => {
        Object.assign(pen, {
          font: `${13 * ratio}px system-ui, sans-serif`,
          fillStyle: TEXT,
          textAlign: "center",
          textBaseline: "middle",
        });
        pen.fillText(this.spec.empty ?? "no values to show", u.bbox.left + u.bbox.width / 2, u.bbox.top + u.bbox.height / 2);
      });
    }
    this.place.dataset.points = this.spots.length;
  }

  // ---- pointer ------------------------------------------------------------------------------------------------

  listen(over) {
    let from = null;
    const at = (event) => {
      const box = over.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    over.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY];
    });
    over.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.hover(at(event));
    });
    over.addEventListener("click", (event) => {
      const moved = from ? Math.hypot(event.clientX - from[0], event.clientY - from[1]) : 0;
      if (moved > 5) return;
      const before = this.near;
      this.hover(at(event));
      // A finger sees the values first; a second tap at the same point opens.
      if (this.near && (event.pointerType !== "touch" || before === this.near)) this.pick(this.near);
    });
    if (this.spec.onPick) over.classList.add("pickable");
  }

  pick({ point }) {
    if (this.spec.onPick && point.record !== undefined) this.spec.onPick(point.record);
  }

  spotAt([left, top]) {
    const { bbox } = this.plot,
      ratio = uPlot.pxRatio;
    const x = left * ratio + bbox.left,
      y = top * ratio + bbox.top;
    let best = null,
      least = (NEAR * ratio) ** 2;
    for (const spot of this.spots) {
      const away = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (away < least) [best, least] = [spot, away];
    }
    return best;
  }

  hover([left, top]) {
    if (!this.plot) return;
    const spot = this.spotAt([left, top]);
    if (spot && spot.point === this.near?.point) return;
    this.near = spot;
    const ratio = uPlot.pxRatio;
    const lines = spot ? this.linesOf(spot) : this.namesAt(left, top);
    if (!lines.length) {
      this.leave();
      return;
    }
    const { offsetLeft, offsetTop } = this.plot.over;
    const x = spot ? spot.x / ratio : left + offsetLeft,
      y = spot ? spot.y / ratio : top + offsetTop;
    this.ring.hidden = !spot;
    if (spot) Object.assign(this.ring.style, { left: `${x}px`, top: `${y}px` });
    this.plot.over.classList.toggle("at-point", Boolean(spot) && Boolean(this.spec.onPick));
    fill(
      this.tip,
      lines.map((line, i) => h(i ? "div" : "div.chart-tip-first", {}, line)),
    );
    this.tip.hidden = false;
    this.putTip(x, y);
  }

  linesOf({ point, series }) {
    const several = this.spec.series.filter(({ decoration }) => !decoration).length > 1;
    const told = this.spec.columns
      .map((column) => [column.text, column.of(point, series)])
      .filter(([, value]) => value !== "" && value !== null);
    const hint = this.spec.onPick && point.record !== undefined ? [`Click: ${this.spec.pickText}`] : [];
    return [...(several ? [series.name] : []), ...told.map(([name, value]) => `${name}: ${value}`), ...hint];
  }

  /** Give what stands at a place without points: an event, or the name of a state. */
  namesAt(left, top) {
    const value = this.plot.posToVal(left, "x"),
      perPixel = this.plot.posToVal(left + 1, "x") - value;
    const events = this.events.filter(({ x }) => Math.abs(x - value) <= AT_EVENT * perPixel).map(({ text }) => text);
    if (events.length || top > STRIP) return events;
    return this.bands
      .filter(({ from, to }) => (from === null || value >= from) && (to === null || value < to))
      .map(({ text, name }) => text ?? name);
  }

  putTip(x, y) {
    const width = this.place.clientWidth,
      { offsetWidth, offsetHeight } = this.tip;
    const left = x + 14 + offsetWidth <= width ? x + 14 : Math.max(0, x - 14 - offsetWidth);
    const top = Math.max(0, Math.min(y - offsetHeight / 2, this.height - offsetHeight));
    Object.assign(this.tip.style, { left: `${left}px`, top: `${top}px` });
  }

  leave() {
    this.near = null;
    this.ring.hidden = true;
    this.tip.hidden = true;
    this.plot?.over.classList.remove("at-point");
  }
}
