// The line below the image: value, place and DQ of one pixel.

import { h } from "../dom.js";
import { referenceText, subtractedIndex } from "./imagestate.js";
import { short } from "./scales.js";

/**
 * Give the parts of the line.
 * @param {{x: number, y: number}|null} pixel - in the FULL array, 1-based.
 * @param {function(number): string[][]|null} flags - names of the flags at a place, of each frame; null if not yet known.
 */
export function readoutOf(pixel, frames, settings, abouts, flags) {
  if (!frames.length) return [h("span.faint", {}, "No frame is shown.")];
  if (!pixel) return [h("span.faint", {}, "Point at a pixel to read it; click to mark it and see its history.")];
  const { x, y } = pixel, first = frames[0], at = placeIn(first, pixel);
  if (at === null) return [h("span", {}, `x ${x}, y ${y}`), h("span.faint", {}, "outside of this frame")];
  return [
    h("span.iv-value", {}, valueText(pixel, frames, settings, abouts[0].states)),
    placeText(pixel, first, abouts[0]),
    h("span.mono", { title: "Indices of the array, 0-based, as Python counts" }, elementText(pixel, first, settings)),
    flags ? dqText(flags(at)) : null,
  ];
}

/** Name the element of the dataset's array that a pixel of a frame is, e.g. "SCI[0, 40, 8]". */
export function elementText({ x, y }, frame, { dataset, index }) {
  return `${dataset.name}[${[...index, y - frame.y, x - frame.x].join(", ")}]`;
}

/** Say where on the detector a pixel of a frame is; its indices say where it is in the array. */
function placeText({ x, y }, { of }, about) {
  if (of === "reference") return h("span", {}, referenceText(about, { x, y }));
  if (of === "array") return h("span.faint", { title: "The frame has not the shape of the detector’s part" }, "no pixel of the detector");
  const said = of === "detector" ? "In the FULL array, 1-based" : "In the array, 1-based: the product has no place on a detector";
  return h("span", { title: said }, `x ${x}, y ${y}`);
}

/** Give the place of a pixel in a frame's values, or null outside. */
function placeIn({ nx, ny, x, y }, pixel) {
  const column = pixel.x - x, row = pixel.y - y;
  return column >= 0 && column < nx && row >= 0 && row < ny ? row * nx + column : null;
}

function valueText(pixel, frames, settings, states = []) {
  const { dataset, mode, minus, index } = settings;
  const named = states.length > 0 && /^STATE\d+$/.test(dataset.name) && mode !== "difference" && !minus;
  const values = frames.map((frame) => {
    const at = placeIn(frame, pixel);
    if (at === null) return "outside";
    return short(frame.values[at], 7) + (named ? ` (${states[frame.values[at] - 1] ?? "no state"})` : "");
  });
  const unit = dataset.flags ? "" : ` ${dataset.unit ?? ""}`.trimEnd();
  if (values.length > 1) return `first ${values[0]}, second ${values[1]}${unit}`;
  const subtracted = mode === "difference" || minus.startsWith("serial:") || subtractedIndex(minus, index);
  return `${subtracted ? "difference " : ""}${values[0]}${unit}`;
}

function dqText([first, second = first]) {
  const text = (names) => (names.length ? names.join(", ") : "none");
  if (text(first) !== text(second)) return h("span.iv-dq", {}, `DQ of the first: ${text(first)}; of the second: ${text(second)}`);
  return first.length ? h("span.iv-dq", {}, `DQ ${text(first)}`) : h("span.faint", {}, "no DQ flag");
}
