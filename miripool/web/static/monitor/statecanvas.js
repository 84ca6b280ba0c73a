// A canvas of a frame with marks on it that stay large enough to be seen, and coordinates along its edges.

import { drawMark } from "../charts/chartmarks.js";
import { FrameCanvas } from "../image/frame.js";

/** Size of a mark at least, and from which on it shows its shape, in CSS pixels. */
const SMALLEST = 4;
const WITH_SHAPE = 9;
/** Room for the coordinates along the lower and the left edge, in CSS pixels. */
const LOWER = 17,
  LEFT = 38;

export class StateCanvas extends FrameCanvas {
  /** Show the whole frame between the coordinates, as large as it fits. */
  fit() {
    super.fit();
    if (!this.frame) return this.view;
    const { nx, ny, x, y } = this.frame,
      { width, height } = this.canvas,
      left = LEFT * this.ratio,
      lower = LOWER * this.ratio;
    const zoom = Math.min((width - left) / nx, (height - lower) / ny);
    if (zoom > 0)
      Object.assign(this.view, { zoom, cx: x + (nx - 1) / 2 - left / 2 / zoom, cy: y + (ny - 1) / 2 - lower / 2 / zoom });
    return this.view;
  }

  /** Mark pixels: [{ x, y, colour, shape }], later ones above earlier ones. */
  setMarks(marks) {
    this.marks = marks;
    this.draw();
  }

  /** Give the mark that is drawn at a pixel, the uppermost one, or null. */
  markAt({ x, y }) {
    const reach = Math.max(0.5, (SMALLEST * this.ratio) / this.view.zoom / 2);
    return this.marks?.findLast((mark) => Math.abs(mark.x - x) <= reach && Math.abs(mark.y - y) <= reach) ?? null;
  }

  paint() {
    super.paint();
    if (!this.frame || !this.lookup) return;
    this.paintMarks();
    this.paintTicks();
  }

  paintMarks() {
    const { zoom } = this.view,
      [x0, y0] = this.corner(),
      { x, y } = this.frame,
      { width, height } = this.canvas;
    const size = Math.max(zoom, SMALLEST * this.ratio),
      grow = (size - zoom) / 2;
    for (const mark of this.marks ?? []) {
      const left = x0 + (mark.x - x) * zoom - grow,
        top = y0 - (mark.y - y + 1) * zoom - grow;
      if (left > width || top > height || left + size < 0 || top + size < 0) continue;
      this.pen.fillStyle = mark.colour;
      this.pen.fillRect(left, top, size, size);
      if (size >= WITH_SHAPE * this.ratio)
        drawMark(
          this.pen,
          { shape: mark.shape, colour: isLight(mark.colour) ? "#000000" : "#ffffff" },
          left + size / 2,
          top + size / 2,
          size * 0.26,
        );
    }
  }

  /** Write columns along the lower edge of the canvas, and rows along the left one. */
  paintTicks() {
    const { zoom } = this.view,
      [x0, y0] = this.corner(),
      { x, y, nx, ny } = this.frame,
      { width, height } = this.canvas,
      { pen, ratio } = this;
    const step = niceStep((50 * ratio) / zoom),
      row = LOWER * ratio,
      column = LEFT * ratio;
    Object.assign(pen, { font: `${11 * ratio}px system-ui, "DejaVu Sans", sans-serif`, textBaseline: "middle" });
    pen.fillStyle = "#20262de0";
    pen.fillRect(0, height - row, width, row);
    pen.fillRect(0, 0, column, height - row);
    pen.fillStyle = "#f2f6fa";
    pen.textAlign = "center";
    for (let v = Math.ceil(x / step) * step; v < x + nx; v += step) {
      const at = x0 + (v - x + 0.5) * zoom;
      if (at > column + 14 * ratio && at < width - 14 * ratio) {
        pen.fillRect(at, height - row, ratio, 3 * ratio);
        pen.fillText(String(v), at, height - row / 2 + ratio);
      }
    }
    pen.textAlign = "right";
    for (let v = Math.ceil(y / step) * step; v < y + ny; v += step) {
      const at = y0 - (v - y + 0.5) * zoom;
      if (at > 8 * ratio && at < height - row - 8 * ratio) {
        pen.fillRect(column - 3 * ratio, at, 3 * ratio, ratio);
        pen.fillText(String(v), column - 5 * ratio, at);
      }
    }
    pen.fillText("y, x", column - 5 * ratio, height - row / 2 + ratio);
  }
}

function isLight(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 130;
}

function niceStep(least) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= least) ?? 10 * ten;
}
