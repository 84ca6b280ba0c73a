// A canvas that draws one frame of pixels through a lookup table, with zoom and pan. It knows no product and no API.
//
// Pixels have the coordinates of the FULL array, 1-based, the centre of a pixel at whole numbers, x to the right and y up.
// Zoom counts screen pixels (not CSS pixels) per frame pixel, so that zoom 1 shows each pixel once and sharply.

import { listenToGestures } from "./gestures.js";

const LARGEST = 160;
const SMALLEST = 1 / 64;
const OPACITY = 0.72; // of the overlay

export class FrameCanvas {
  /**
   * Draw on a canvas.
   * @param {HTMLCanvasElement} canvas - its size follows its place on the page.
   * @param {object} calls - onView({zoom, cx, cy, fit}) after each zoom or pan by hand, onHover({x, y}|null), onPick({x, y}).
   * @param {AbortSignal} signal - ends all listening.
   */
  constructor(canvas, { onView, onHover, onPick }, signal) {
    Object.assign(this, { canvas, onView, onHover, onPick, frame: null, home: null, lookup: null, mark: null });
    this.pen = canvas.getContext("2d", { alpha: false });
    this.picture = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.layer = document.createElement("canvas");
    this.hasOverlay = false;
    this.stale = false;
    this.asked = 0;
    this.view = { zoom: 1, cx: 1, cy: 1, fit: true };
    const sizes = new ResizeObserver(() => this.resize());
    sizes.observe(canvas);
    signal.addEventListener("abort", () => { sizes.disconnect(); cancelAnimationFrame(this.asked); this.asked = -1; });
    listenToGestures(canvas, {
      zoom: (factor, at) => this.zoomBy(factor, at),
      pan: (dx, dy) => this.panBy(dx, dy),
      hover: (at) => this.onHover(at ? this.pixelAt(at) : null),
      pick: (at) => { const pixel = this.pixelAt(at); if (pixel) this.onPick(pixel); },
    }, signal);
    this.resize();
  }

  /**
   * Show a frame: { values, nx, ny, x, y }; values in C order, row 0 lowest; x, y are those of its first pixel.
   * @param {object} [home] - the frame that "fit" fits, where frames of different sizes take turns.
   */
  setFrame(frame, home = frame) {
    this.home = home;
    if (frame?.values === this.frame?.values && frame?.x === this.frame?.x && frame?.y === this.frame?.y) return;
    this.frame = frame;
    this.hasOverlay = false;
    this.stale = true;
    if (this.view.fit) this.fit();
    this.draw();
  }

  /** Colour through a table: { table: Uint32Array, lo, hi, nan: packed colour }. */
  setLookup(lookup) {
    this.lookup = lookup;
    this.stale = true;
    this.draw();
  }

  /** Lay packed colours over the frame, or nothing (null); same shape and order as its values. */
  setOverlay(colours) {
    this.hasOverlay = colours !== null && this.frame !== null;
    if (this.hasOverlay) {
      const { nx, ny } = this.frame;
      const image = sized(this.overlay, nx, ny);
      const out = new Uint32Array(image.data.buffer);
      for (let row = 0; row < ny; row++) out.set(colours.subarray(row * nx, (row + 1) * nx), (ny - 1 - row) * nx);
      this.overlay.getContext("2d").putImageData(image, 0, 0);
    }
    this.draw();
  }

  /** Mark a pixel { x, y }, or none (null). */
  setMark(mark) {
    this.mark = mark;
    this.draw();
  }

  /** Take a view over, as from the URL or from a canvas beside: { zoom, cx, cy, fit }. */
  setView(view) {
    this.view = { ...this.view, ...view };
    if (this.view.fit) this.fit();
    this.draw();
  }

  /** Show the whole frame, as large as it fits. */
  fit() {
    this.view.fit = true;
    if (!this.home) return this.view;
    const { nx, ny, x, y } = this.home;
    const zoom = Math.min(this.canvas.width / nx, this.canvas.height / ny, LARGEST) || 1;
    Object.assign(this.view, { zoom, cx: x + (nx - 1) / 2, cy: y + (ny - 1) / 2 });
    this.draw();
    return this.view;
  }

  /** Zoom by a factor; the place `at` (CSS pixels from the canvas's corner) stays where it is. */
  zoomBy(factor, at = null) {
    return this.zoomTo(this.view.zoom * factor, at);
  }

  /** Zoom to screen pixels per frame pixel. */
  zoomTo(zoom, at = null) {
    const wanted = Math.min(LARGEST, Math.max(SMALLEST, zoom));
    const { cx, cy, zoom: before } = this.view;
    const off = at ? this.fromMiddle(at) : [0, 0];
    this.change({ zoom: wanted, cx: cx + off[0] / before - off[0] / wanted, cy: cy - off[1] / before + off[1] / wanted });
  }

  /** Move the frame by CSS pixels. */
  panBy(dx, dy) {
    const ratio = this.ratio / this.view.zoom;
    this.change({ cx: this.view.cx - dx * ratio, cy: this.view.cy + dy * ratio });
  }

  /** Bring a pixel into the middle if it lies outside of what is seen. */
  reveal({ x, y }) {
    const { zoom, cx, cy } = this.view;
    const outside = Math.abs(x - cx) * zoom > this.canvas.width / 2 || Math.abs(y - cy) * zoom > this.canvas.height / 2;
    if (outside) this.change({ cx: x, cy: y });
  }

  change(parts) {
    Object.assign(this.view, parts, { fit: false });
    this.keepInside();
    this.draw();
    this.onView(this.view);
  }

  /** Keep the middle of the canvas on the frame, so that the frame can't be lost. */
  keepInside() {
    if (!this.home) return;
    const { nx, ny, x, y } = this.home;
    this.view.cx = Math.min(x + nx - 0.5, Math.max(x - 0.5, this.view.cx));
    this.view.cy = Math.min(y + ny - 0.5, Math.max(y - 0.5, this.view.cy));
  }

  fromMiddle([left, top]) {
    return [left * this.ratio - this.canvas.width / 2, top * this.ratio - this.canvas.height / 2];
  }

  /** The corner of the frame on the canvas: screen pixels from the left, and from the top to its lowest edge. */
  corner() {
    const { zoom, cx, cy } = this.view, { x, y } = this.frame;
    const at = zoom < 1 ? (place) => place : Math.round; // whole screen pixels keep the pixels of a frame equally large
    return [at(this.canvas.width / 2 - (cx - x + 0.5) * zoom), at(this.canvas.height / 2 + (cy - y + 0.5) * zoom)];
  }

  /** Give the pixel at a place of the canvas as { x, y }, or null outside of the frame. */
  pixelAt([left, top]) {
    if (!this.frame) return null;
    const [x0, y0] = this.corner(), { nx, ny, x, y } = this.frame, { zoom } = this.view;
    const column = Math.floor((left * this.ratio - x0) / zoom), row = Math.floor((y0 - top * this.ratio) / zoom);
    return column >= 0 && column < nx && row >= 0 && row < ny ? { x: x + column, y: y + row } : null;
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    this.ratio = devicePixelRatio || 1;
    const width = Math.round(box.width * this.ratio), height = Math.round(box.height * this.ratio);
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    Object.assign(this.canvas, { width, height });
    if (this.view.fit && this.frame) this.onView(this.fit());
    this.paint(); // at once: setting the size has cleared the canvas
  }

  draw() {
    if (!this.asked) this.asked = requestAnimationFrame(() => { this.asked = 0; this.paint(); });
  }

  /** Draw all; the attribute data-redraw tells how many milliseconds it took. */
  paint() {
    const start = performance.now();
    const { pen, canvas, frame } = this;
    pen.fillStyle = "#20262d";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (!frame || !this.lookup) return;
    if (this.stale) this.colour();
    // Above zoom 1 pixels stay sharp. Below, single hot pixels would vanish between the lines that are drawn.
    pen.imageSmoothingEnabled = this.view.zoom < 1;
    this.place(this.picture);
    if (this.hasOverlay) this.layOver();
    this.outline();
    if (this.mark) this.markPixel();
    canvas.dataset.redraw = (performance.now() - start).toFixed(1);
  }

  colour() {
    const { values, nx, ny } = this.frame;
    const image = sized(this.picture, nx, ny);
    colourFrame(values, nx, ny, this.lookup, new Uint32Array(image.data.buffer));
    this.picture.getContext("2d").putImageData(image, 0, 0);
    this.stale = false;
  }

  /** Draw the overlay, through which the image stays visible. Drawn small, single pixels fade; drawn again they show. */
  layOver() {
    const times = Math.max(1, Math.min(5, Math.round(this.view.zoom ** -2))), { width, height } = this.canvas;
    if (this.layer.width !== width || this.layer.height !== height) Object.assign(this.layer, { width, height });
    const pen = this.layer.getContext("2d");
    pen.clearRect(0, 0, width, height);
    pen.imageSmoothingEnabled = this.view.zoom < 1;
    for (let i = 0; i < times; i++) this.place(this.overlay, pen);
    this.pen.globalAlpha = OPACITY;
    this.pen.drawImage(this.layer, 0, 0);
    this.pen.globalAlpha = 1;
  }

  /** Draw the part of a picture of the frame that the canvas shows. */
  place(picture, pen = this.pen) {
    const { nx, ny } = this.frame, { zoom } = this.view, { width, height } = this.canvas;
    const [x0, y0] = this.corner(), y1 = y0 - ny * zoom;
    const c0 = Math.max(0, Math.floor(-x0 / zoom)), c1 = Math.min(nx, Math.ceil((width - x0) / zoom));
    const r0 = Math.max(0, Math.floor(-y1 / zoom)), r1 = Math.min(ny, Math.ceil((height - y1) / zoom));
    if (c1 <= c0 || r1 <= r0) return;
    pen.drawImage(picture, c0, r0, c1 - c0, r1 - r0, x0 + c0 * zoom, y1 + r0 * zoom, (c1 - c0) * zoom, (r1 - r0) * zoom);
  }

  outline() {
    const { nx, ny } = this.frame, { zoom } = this.view, [x0, y0] = this.corner();
    this.pen.lineWidth = 1;
    this.pen.strokeStyle = "#8795a6";
    this.pen.strokeRect(x0 - 0.5, y0 - ny * zoom - 0.5, nx * zoom + 1, ny * zoom + 1);
  }

  /** Frame the marked pixel in black and white, which shows on every colour; at small zoom the frame keeps 9 CSS pixels. */
  markPixel() {
    const { zoom } = this.view, [x0, y0] = this.corner(), { x, y } = this.frame;
    const size = Math.max(zoom, 9 * this.ratio), grow = (size - zoom) / 2;
    const left = x0 + (this.mark.x - x) * zoom - grow, top = y0 - (this.mark.y - y + 1) * zoom - grow;
    for (const [colour, out] of [["#000000", 2.5], ["#ffffff", 1]]) {
      this.pen.strokeStyle = colour;
      this.pen.lineWidth = 1.5 * this.ratio;
      this.pen.strokeRect(left - out * this.ratio, top - out * this.ratio, size + 2 * out * this.ratio, size + 2 * out * this.ratio);
    }
  }
}

/** Give a canvas the size of a frame, and pixels to fill. */
function sized(canvas, nx, ny) {
  if (canvas.width !== nx || canvas.height !== ny) Object.assign(canvas, { width: nx, height: ny });
  canvas.pixels = canvas.pixels?.width === nx && canvas.pixels.height === ny ? canvas.pixels : new ImageData(nx, ny);
  return canvas.pixels;
}

/** Colour a frame, row 0 at the bottom of `out`: values beyond the limits take the end colours, NaN its own. */
export function colourFrame(values, nx, ny, { table, lo, hi, nan }, out) {
  const steps = table.length, width = steps / (hi - lo), bottom = table[0], top = table[steps - 1];
  for (let row = 0; row < ny; row++) {
    let to = (ny - 1 - row) * nx;
    for (let from = row * nx, end = from + nx; from < end; from++, to++) {
      const v = values[from], t = (v - lo) * width;
      out[to] = t < steps ? (t >= 0 ? table[t | 0] : bottom) : v === v ? top : nan;
    }
  }
}
