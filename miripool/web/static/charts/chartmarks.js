// Marks of charts: colours that people with a colour-blindness can tell apart, and shapes that differ without colour.

import { h } from "../dom.js";

/** Colours of series, after Okabe and Ito, darkened where a thin line would be too faint on white. */
export const PALETTE = ["#1b2430", "#0072b2", "#c04f00", "#00795b", "#a8467f", "#2b8cbe", "#9a6a00", "#6a51a3"];
export const SHAPES = ["circle", "square", "up", "down", "diamond", "plus", "star", "cross"];
export const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/** Styles of states: the colours and shapes of `miripool monitor plot`. */
export const STATES = {
  hot: { colour: "#a50f15", shape: "up", dash: [] },
  warm: { colour: "#fdae6b", shape: "down", dash: [7, 4] },
  dead: { colour: "#000000", shape: "cross", dash: [2, 3] },
  low_qe: { colour: "#737373", shape: "plus", dash: [9, 3, 2, 3] },
  open: { colour: "#525252", shape: "plus", dash: [1, 2] },
  noisy: { colour: "#e6b800", shape: "star", dash: [9, 3, 2, 3] },
  rc: { colour: "#8c6d31", shape: "plus", dash: [9, 3] },
  rts: { colour: "#08306b", shape: "square", dash: [] },
  unstable: { colour: "#6baed6", shape: "diamond", dash: [7, 4] },
  step: { colour: "#54278f", shape: "cross", dash: [9, 3, 2, 3] },
  drift: { colour: "#74c476", shape: "circle", dash: [2, 3] },
};

/** Give the style of a state; one that this page does not know is drawn like series. */
export function stateStyle(name) {
  return STATES[name] ?? { colour: "#a8467f", shape: "circle", dash: [] };
}

/** Give what a legend shows for a state: its colour as an area. */
export function stateSwatch(name) {
  return { colour: stateStyle(name).colour, band: "full" };
}

/** Give colour, shape and dashes of the i-th series. */
export function seriesStyle(i) {
  return { colour: PALETTE[i % PALETTE.length], shape: SHAPES[i % SHAPES.length], dash: DASHES[i % DASHES.length] };
}

/** Draw a mark around (x, y) with radius r, in the pixels of the canvas; a hollow one is white inside. */
export function drawMark(pen, { shape, colour, hollow }, x, y, r) {
  pen.beginPath();
  const open = OPEN[shape];
  if (open) open(pen, x, y, r);
  else (CLOSED[shape] ?? CLOSED.circle)(pen, x, y, r);
  pen.setLineDash([]);
  pen.strokeStyle = colour;
  if (open || hollow) {
    pen.lineWidth = Math.max(1.3, r * 0.42);
    if (!open) {
      pen.fillStyle = "#ffffff";
      pen.fill();
    }
    pen.stroke();
  } else {
    pen.fillStyle = colour;
    pen.fill();
  }
}

const polygon = (pen, x, y, corners) => {
  corners.forEach(([dx, dy], i) => (i ? pen.lineTo(x + dx, y + dy) : pen.moveTo(x + dx, y + dy)));
  pen.closePath();
};

const CLOSED = {
  circle: (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
  square: (pen, x, y, r) => pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
  up: (pen, x, y, r) =>
    polygon(pen, x, y, [
      [0, -1.25 * r],
      [1.15 * r, 0.85 * r],
      [-1.15 * r, 0.85 * r],
    ]),
  down: (pen, x, y, r) =>
    polygon(pen, x, y, [
      [0, 1.25 * r],
      [1.15 * r, -0.85 * r],
      [-1.15 * r, -0.85 * r],
    ]),
  diamond: (pen, x, y, r) =>
    polygon(pen, x, y, [
      [0, -1.35 * r],
      [1.2 * r, 0],
      [0, 1.35 * r],
      [-1.2 * r, 0],
    ]),
};

const strokes = (pen, x, y, r, lines) => {
  for (const [ax, ay, bx, by] of lines) {
    pen.moveTo(x + ax * r, y + ay * r);
    pen.lineTo(x + bx * r, y + by * r);
  }
};

const OPEN = {
  cross: (pen, x, y, r) =>
    strokes(pen, x, y, r, [
      [-1, -1, 1, 1],
      [-1, 1, 1, -1],
    ]),
  plus: (pen, x, y, r) =>
    strokes(pen, x, y, r, [
      [-1.2, 0, 1.2, 0],
      [0, -1.2, 0, 1.2],
    ]),
  star: (pen, x, y, r) =>
    strokes(pen, x, y, r, [
      [-1.2, 0, 1.2, 0],
      [-0.6, -1.04, 0.6, 1.04],
      [-0.6, 1.04, 0.6, -1.04],
    ]),
};

/** Make the picture of a mark for a legend: a line, a mark, both, or an area (`band`). */
export function swatch({ colour, shape, hollow, line, dash, band }) {
  const ratio = 2,
    width = 22,
    height = 14;
  const canvas = h("canvas.swatch", { width: width * ratio, height: height * ratio, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  if (band) {
    pen.fillStyle = colour;
    pen.globalAlpha = band === true ? 0.45 : 1;
    pen.fillRect(3, 1, 16, 12);
    pen.globalAlpha = 1;
    pen.strokeStyle = "#55606e";
    pen.strokeRect(3.5, 1.5, 15, 11);
  }
  if (line) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.setLineDash(dash ?? []);
    pen.beginPath();
    pen.moveTo(0, height / 2);
    pen.lineTo(width, height / 2);
    pen.stroke();
  }
  if (shape) drawMark(pen, { colour, shape, hollow }, width / 2, height / 2, 4);
  return canvas;
}
