// What charts draw on uPlot's canvas: bands, events, lines, error bars and marks. Places are pixels of the canvas.

import { drawMark } from "./chartmarks.js";

const TEXT = "#1b2430",
  EVENT = "#8a4b00";
/** Height of the strip of names of states, and of a row of names of events, in CSS pixels. */
export const STRIP = 18;
export const ROW = 15;
/** Rows of names of events; names that find no place are in the tooltip only. */
const ROWS = 2;

/** Give the CSS pixels at the top of a chart that its names need. */
export function topRoom({ bands = [], events = [] }) {
  return (bands.length ? STRIP + 2 : 0) + (events.length ? ROW + 2 : 0);
}

/** Give functions from values to the canvas's pixels. */
export function placer(u) {
  const { left, top, width, height } = u.bbox,
    { x, y } = u.scales;
  const kx = width / (x.max - x.min),
    ky = height / (y.max - y.min);
  return { x: (v) => left + (v - x.min) * kx, y: (v) => top + height - (v - y.min) * ky };
}

/** Draw with the plot's area as the limit. */
export function clipped(u, draw) {
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  draw(u.ctx, placer(u));
  u.ctx.restore();
}

/** Give the part of the plot that a band { from, to } (null: without an end) covers, or null. */
function spanOf(u, to, band) {
  const { left, width } = u.bbox;
  const x0 = band.from === null ? left : Math.max(left, to.x(band.from));
  const x1 = band.to === null ? left + width : Math.min(left + width, to.x(band.to));
  return x1 > x0 ? [x0, x1] : null;
}

/** Shade bands { from, to, colour }, below the grid. */
export function drawBands(u, bands) {
  clipped(u, (pen, to) => {
    pen.globalAlpha = 0.14;
    for (const band of bands) {
      const span = spanOf(u, to, band);
      pen.fillStyle = band.colour;
      if (span) pen.fillRect(span[0], u.bbox.top, span[1] - span[0], u.bbox.height);
    }
  });
}

/** Name bands in a strip at the top. */
export function drawBandNames(u, bands, ratio) {
  clipped(u, (pen, to) => {
    const { top } = u.bbox,
      strip = STRIP * ratio;
    for (const band of bands) {
      const span = spanOf(u, to, band);
      if (!span) continue;
      const [x0, x1] = span;
      pen.fillStyle = "#ffffff";
      pen.fillRect(x0, top, x1 - x0, strip);
      pen.fillStyle = band.colour;
      pen.globalAlpha = 0.42;
      pen.fillRect(x0, top, x1 - x0, strip);
      pen.globalAlpha = 1;
      pen.strokeStyle = "#55606e";
      pen.lineWidth = ratio;
      pen.strokeRect(x0 + ratio / 2, top + ratio / 2, x1 - x0 - ratio, strip - ratio);
      nameBand(pen, band.name, x0, x1, top + strip / 2, ratio);
    }
  });
}

function nameBand(pen, name, x0, x1, y, ratio) {
  pen.font = `${12 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  if (pen.measureText(name).width > x1 - x0 - 4 * ratio) return;
  pen.fillStyle = TEXT;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(name, (x0 + x1) / 2, y);
}

/** Draw events { x, name } as dashed vertical lines with their names, which do not lie over each other. */
export function drawEvents(u, events, hasBands, ratio) {
  clipped(u, (pen, to) => {
    const { left, top, width, height } = u.bbox,
      first = top + (hasBands ? STRIP + 2 : 0) * ratio;
    const seen = events
      .map((event) => ({ at: to.x(event.x), name: event.name }))
      .filter(({ at }) => at >= left && at <= left + width)
      .sort((a, b) => a.at - b.at);
    pen.strokeStyle = EVENT;
    pen.lineWidth = 1.5 * ratio;
    pen.setLineDash([5 * ratio, 3 * ratio]);
    pen.beginPath();
    for (const { at } of seen) {
      pen.moveTo(at, first);
      pen.lineTo(at, top + height);
    }
    pen.stroke();
    pen.setLineDash([]);
    nameEvents(pen, seen, first, left + width, ratio);
  });
}

function nameEvents(pen, seen, first, right, ratio) {
  const ends = new Array(ROWS).fill(-Infinity);
  Object.assign(pen, { font: `${12 * ratio}px system-ui, "DejaVu Sans", sans-serif`, textAlign: "left", textBaseline: "middle" });
  for (const { at, name } of seen) {
    const wide = pen.measureText(name).width + 8 * ratio,
      from = Math.min(at + 2 * ratio, right - wide);
    const row = ends.findIndex((end) => end <= from);
    if (row < 0) continue;
    ends[row] = from + wide;
    pen.fillStyle = "#fffffff0";
    pen.fillRect(from, first + row * ROW * ratio, wide, ROW * ratio);
    pen.fillStyle = EVENT;
    pen.fillText(name, from + 4 * ratio, first + (row + 0.5) * ROW * ratio);
  }
}

/** Draw series, and give the places of their points: { x, y (canvas's pixels), point, series }. */
export function drawSeries(u, series, ratio) {
  const spots = [];
  clipped(u, (pen, to) => {
    for (const one of series) if (one.line) drawLine(pen, to, one, ratio);
    for (const one of series) if (!one.decoration) drawErrors(pen, to, one, ratio);
    for (const one of series) drawMarks(pen, to, one, ratio, u.bbox, spots);
  });
  return spots;
}

function drawLine(pen, to, { points, colour, dash, width = 1.5, line, alpha = 1 }, ratio) {
  pen.strokeStyle = colour;
  pen.globalAlpha = alpha;
  pen.lineWidth = width * ratio;
  pen.lineJoin = "round";
  pen.setLineDash((dash ?? []).map((part) => part * ratio));
  pen.beginPath();
  let before = null;
  for (const { x, y } of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      before = null;
      continue;
    }
    const px = to.x(x),
      py = to.y(y);
    if (before === null) pen.moveTo(px, py);
    else {
      if (line === "steps") pen.lineTo(px, before);
      pen.lineTo(px, py);
    }
    before = py;
  }
  pen.stroke();
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawErrors(pen, to, { points, colour, bars = true }, ratio) {
  if (!bars) return;
  pen.strokeStyle = colour;
  pen.globalAlpha = points.length > 400 ? 0.35 : 0.75;
  pen.lineWidth = ratio;
  pen.beginPath();
  const cap = points.length > 400 ? 0 : 2.5 * ratio;
  for (const { x, y, lo, hi } of points) {
    if (!(Number.isFinite(y) && Number.isFinite(lo) && Number.isFinite(hi))) continue;
    const px = to.x(x),
      low = to.y(lo),
      high = to.y(hi);
    pen.moveTo(px, low);
    pen.lineTo(px, high);
    if (cap) {
      pen.moveTo(px - cap, low);
      pen.lineTo(px + cap, low);
      pen.moveTo(px - cap, high);
      pen.lineTo(px + cap, high);
    }
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

function drawMarks(pen, to, one, ratio, { left, width }, spots) {
  const radius = (one.radius ?? (one.points.length > 600 ? 2.2 : 3.6)) * ratio;
  for (const point of one.points) {
    if (!Number.isFinite(point.x) || !Number.isFinite(point.y)) continue;
    const x = to.x(point.x),
      y = to.y(point.y);
    if (x < left - 8 || x > left + width + 8) continue;
    const shape = point.shape === undefined ? one.shape : point.shape;
    const size = point.radius === undefined ? radius : point.radius * ratio;
    if (shape) drawMark(pen, { shape, colour: point.colour ?? one.colour, hollow: point.hollow ?? one.hollow }, x, y, size);
    for (const mark of point.marks ?? []) drawMark(pen, mark, x, y, (mark.radius ?? 4.5) * ratio);
    if (!one.decoration) spots.push({ x, y, point, series: one });
  }
}
