// Thumbnails: small pictures of versions, read when they come into sight, two at a time.

import { getArray, poolPath } from "../api.js";
import { h } from "../dom.js";
import { percentileLimits, usableLimits, zscaleLimits } from "../image/scales.js";

const AT_ONCE = 2;
const SIZE = 40;

let waiting = [];
let running = 0;

function next(signal) {
  while (running < AT_ONCE && waiting.length) {
    const work = waiting.shift();
    running += 1;
    work().finally(() => { running -= 1; next(signal); });
  }
}

/** Give a function that makes thumbnails: (serial) => canvas. They end with the signal. */
export function makeThumbnails(pool, signal) {
  waiting = [];
  signal.addEventListener("abort", () => { waiting = []; observer.disconnect(); });
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      observer.unobserve(entry.target);
      waiting.push(() => draw(entry.target, pool, signal));
    }
    next(signal);
  });
  return (serial) => {
    const canvas = h("canvas.thumbnail", { width: SIZE, height: SIZE, role: "img", "aria-label": "no picture yet", data: { serial } });
    observer.observe(canvas);
    return canvas;
  };
}

async function draw(canvas, pool, signal) {
  try {
    const { values, shape } = await getArray(poolPath(pool, "products", canvas.dataset.serial, "thumbnail"), {}, signal);
    const [rows, columns] = shape;
    if (!values.length) return;
    const [low, high] = limits(values);
    const picture = new ImageData(columns, rows);
    const pixels = new Uint32Array(picture.data.buffer);
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) {
        const value = values[(rows - 1 - y) * columns + x];
        const level = Number.isFinite(value) ? Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low)))) : 64;
        pixels[y * columns + x] = 0xff000000 | (level << 16) | (level << 8) | level;
      }
    }
    canvas.width = columns;
    canvas.height = rows;
    canvas.getContext("2d").putImageData(picture, 0, 0);
    canvas.setAttribute("aria-label", "thumbnail");
  } catch (error) {
    if (error.name !== "AbortError") canvas.setAttribute("aria-label", "no picture");
  }
}

/** Choose limits: bright stars leave zscale as it is, a few odd pixels leave percentiles as they are; the narrower ones count. */
function limits(values) {
  const [some, scaled] = [percentileLimits(values, 96), zscaleLimits(values)];
  return usableLimits([Math.max(some[0], scaled[0]), Math.min(some[1], scaled[1])]);
}
