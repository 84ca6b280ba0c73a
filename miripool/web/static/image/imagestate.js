// What the image view shows, from the page's URL: pure functions of the state and of the API's answers.

import { mapOf } from "./colours.js";
import { imageParcel } from "../samp/sending.js";
import { LIMITS, SCALES } from "./scales.js";

const MODES = ["blink", "difference", "side"];
/** Changes a second in a blinking picture; more than six would be over three flashes a second, which can harm. */
export const FASTEST_BLINK = 6;

const has = (pairs, wanted) => pairs.some(([name]) => name === wanted);
const number = (text) => (text === undefined || text === null || text === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** Give the datasets that hold frames. */
export function imagesOf(about) {
  return about.datasets.filter((dataset) => dataset.image && dataset.shape.length >= 2);
}

/** Give the axes before y and x as [{ key, name, length }]; `key` is the name in the URL. */
export function axesOf(dataset) {
  return dataset.shape.slice(0, -2).map((length, i) => {
    const name = dataset.axes?.[i] ?? `axis ${i}`;
    return { key: name === "integration" || name === "group" ? name : `axis${i}`, name, length };
  });
}

/**
 * Give the coordinates of frames of a shape (…, ny, nx): { x, y } of their first pixel, 1-based, and what they are `of`:
 * "detector" (x, y in the FULL array), "reference" (the reference output: a column for each few columns of the detector),
 * "array" (no pixels of the detector), or "nowhere" (the whole product has no place on a detector).
 */
export function coordinatesOf({ place }, shape) {
  if (!place) return { of: "nowhere", x: 1, y: 1 };
  const [ny, nx] = shape.slice(-2);
  if (ny === place.rows && nx === place.columns) return { of: "detector", x: place.x, y: place.y };
  const reference = place.outputs > 0 && ny === place.rows && nx * place.outputs === place.columns;
  return { of: reference ? "reference" : "array", x: 1, y: 1 };
}

/** Name what a value of the reference output is for: "reference output for x 33–36, y 819"; x, y count from 1 in its array. */
export function referenceText({ place }, { x, y }) {
  const first = place.x + (x - 1) * place.outputs;
  return `reference output for x ${first}–${first + place.outputs - 1}, y ${place.y + y - 1}`;
}

/**
 * Read what to show.
 * @param {object} state - the URL's query.
 * @param {object[]} abouts - the API's answer on the version, and on the second one where two are compared.
 * @returns {object} dataset, axes, index (0-based), and the settings of drawing; null without any image.
 */
export function readSettings(state, abouts) {
  const images = imagesOf(abouts[0]);
  if (!images.length) return null;
  const dataset = images.find(({ name }) => name === state.dataset) ?? images.find(({ name }) => name === "SCI") ?? images[0];
  const axes = axesOf(dataset);
  const index = axes.map(({ key, length }) => Math.min(length, Math.max(1, Math.round(number(state[key]) ?? 1))) - 1);
  const mode = abouts.length < 2 ? "single" : MODES.includes(state.mode) ? state.mode : "blink";
  const settings = { dataset, axes, index, mode, minus: mode === "single" ? minusOf(state.minus, axes, dataset) : "" };
  const { of } = coordinatesOf(abouts[0], dataset.shape);
  return { ...settings, of, ...readDrawing(state, settings), ...readFlag(state, abouts[0]), ...readPlace(state) };
}

/** Read which flag an image of flags shows: its name and its value, or "" and null for any of them. */
function readFlag({ flag = "" }, { flags }) {
  return Object.hasOwn(flags, flag) ? { flag, flagValue: flags[flag] } : { flag: "", flagValue: null };
}

function minusOf(text, axes, dataset) {
  if (!text || dataset.flags) return "";
  if (text === "previous" || text === "first") return axes.length ? text : "";
  return /^serial:\d+$/.test(text) ? text : "";
}

function readDrawing(state, { mode, dataset }) {
  const difference = mode === "difference";
  const coloursKey = difference ? "difference_colours" : "colours"; // a map of values does not suit differences
  const colours = state[coloursKey] || (difference ? "difference" : "grey");
  const usual = difference ? "p99.5" : "zscale";
  let lo = number(state.lo), hi = number(state.hi), limits = has(LIMITS, state.limits) ? state.limits : usual;
  if (limits === "manual" && (lo === null || hi === null)) [limits, lo, hi] = [usual, 0, 1];
  const rate = number(state.rate) ?? 1;
  return {
    scale: has(SCALES, state.scale) ? state.scale : "linear",
    limits, lo, hi, colours, coloursKey,
    symmetric: difference || mapOf(colours).symmetric,
    dq: (state.dq ?? "").split(",").filter(Boolean),
    rate: Math.min(FASTEST_BLINK, Math.max(0, rate)),
  };
}

function readPlace(state) {
  const zoom = number(state.zoom), cx = number(state.cx), cy = number(state.cy);
  const [x, y] = (state.pixel ?? "").split(",").map((part) => number(part.trim()));
  return {
    view: zoom > 0 && cx !== null && cy !== null ? { zoom, cx, cy, fit: false } : { fit: true },
    pixel: Number.isInteger(x) && Number.isInteger(y) ? { x, y } : null,
  };
}

/** Whether the frames of both versions are needed; those of flags are compared bit by bit, not subtracted. */
function bothAreShown({ mode, dataset }) {
  return mode === "blink" || mode === "side" || (mode === "difference" && dataset.flags);
}

/** Give the wishes for frames: what the API's address /frame takes, for the version or for both. */
export function wishesFor(settings, abouts, index = settings.index) {
  const { dataset } = settings, mode = bothAreShown(settings) ? "both" : settings.mode;
  const one = (about, at) => ({ serial: about.serial, created: about.created, dataset: dataset.name, index: at.join(",") });
  if (mode === "single") return [{ ...one(abouts[0], index), ...subtracted(settings, index) }];
  const second = indexIn(abouts[1], settings, index);
  if (mode === "both") return [one(abouts[0], index), one(abouts[1], second)];
  const minus = second.length && second.join(",") !== index.join(",") ? { minus: second.join(",") } : {};
  return [{ ...one(abouts[0], index), other: abouts[1].serial, ...minus }];
}

/** Give the index of the same frame in another product: the same integration and group, as far as it has such axes. */
export function indexIn(about, { dataset, axes }, index) {
  const there = about.datasets.find(({ name }) => name === dataset.name);
  if (!there?.image) return index;
  return axesOf(there).map(({ name }) => index[axes.findIndex((axis) => axis.name === name)] ?? 0);
}

function subtracted({ minus }, index) {
  if (minus.startsWith("serial:")) return { other: Number(minus.slice(7)) };
  const at = subtractedIndex(minus, index);
  return at ? { minus: at.join(",") } : {};
}

/** Give the index of the frame that is subtracted, or null; the last axis, groups if there are, is gone back along. */
export function subtractedIndex(minus, index) {
  const last = index.at(-1);
  if (last === undefined || (minus !== "previous" && minus !== "first")) return null;
  if (minus === "previous" && last === 0) return null; // there is none before the first
  return [...index.slice(0, -1), minus === "first" ? 0 : last - 1];
}

/** Give the wishes for the frames of flags that belong to a frame of a version; none if it has no flags. */
export function flagWishes(settings, about, index = settings.index) {
  const names = settings.dataset.flags ? [settings.dataset.name] : about.flags_of?.[settings.dataset.name] ?? [];
  return names.map((name) => {
    const flags = about.datasets.find((dataset) => dataset.name === name);
    const leading = flags ? flags.shape.length - 2 : 0;
    return { serial: about.serial, created: about.created, dataset: name, index: leading ? index.slice(-leading).join(",") : "" };
  });
}

/** Give the index of the frame `by` steps along an axis, or null beyond its ends; `around` starts again. */
export function stepped({ axes, index }, axis, by, around = false) {
  const length = axes[axis]?.length;
  let to = index[axis] + by;
  if (around && length) to = (to + length) % length;
  return to >= 0 && to < length ? index.map((number, i) => (i === axis ? to : number)) : null;
}

/** Name a version: "Ramp jw… version 2 (using cal v2)". */
export function versionText(about) {
  return `${about.kind} ${about.name} version ${about.version}${tagText(about)}`;
}

export function tagText({ tags }) {
  return tags?.length ? ` (${tags.join(", ")})` : "";
}

/** Say in words which frame is shown. */
export function frameText(settings, abouts) {
  const { dataset, axes, index, mode } = settings;
  const parts = [dataset.name, ...axes.map(({ name, length }, i) => `${name}${/\d$/.test(name) ? ":" : ""} ${index[i] + 1} of ${length}`)];
  const said = minusText(settings, abouts);
  if (said) parts.push(said);
  if (dataset.flags) parts.push(flagText(settings));
  if (mode === "difference") parts.push("first minus second");
  return parts.join(", ");
}

/** Name what an image of flags shows. */
export function flagText({ flag }) {
  return flag ? `flag ${flag}` : "any flag";
}

/** Say what is subtracted, or "". */
export function minusText({ minus, index, axes }, abouts) {
  if (minus.startsWith("serial:")) {
    const serial = Number(minus.slice(7)), known = abouts[0].versions.find((version) => version.serial === serial);
    return known ? `minus version ${known.version}` : `minus serial ${serial}`;
  }
  const at = subtractedIndex(minus, index);
  if (at) return `minus ${axes.at(-1).name} ${at.at(-1) + 1}`;
  return minus ? `nothing subtracted, the first ${axes.at(-1).name} has none before it` : "";
}

/** Give what can be sent to other programs: the dataset that is shown, of one version or of two. */
export function parcelsFor({ dataset: { name } }, abouts) {
  const serials = abouts.map(({ serial }) => serial);
  const of = abouts.length > 1 ? `${name} of both versions` : `${name} of ${versionText(abouts[0])}`;
  return [imageParcel(serials, of, { dataset: name, name: `Send ${name}${abouts.length > 1 ? " of both" : ""} to DS9` })];
}

/** Write the Python that gives the frame as an array, shape (ny, nx); two frames where two are shown. */
export function pythonFor(settings, abouts, pool) {
  const { dataset, index, minus } = settings, quoted = (text) => JSON.stringify(text);
  const urns = abouts.map(({ urn }) => urn), back = subtractedIndex(minus, index);
  if (minus.startsWith("serial:")) urns.push(urns[0].replace(/\d+$/, minus.slice(7)));
  const names = urns.length > 1 ? ["first", "second"] : ["ref"];
  const terms = names.map((name, i) => [name, i && abouts[i] ? indexIn(abouts[i], settings, index) : index]);
  if (back) terms.push(["ref", back]);
  // differences of unsigned integers would wrap
  const cast = terms.length > 1 && !bothAreShown(settings) && /^u?int/.test(dataset.dtype) ? ".astype(float)" : "";
  const arrays = terms.map(([name, at]) => `${name}.product[${quoted(dataset.name)}][${at.length ? at.join(", ") : "..."}]${cast}`);
  const both = bothAreShown(settings);
  return [
    "from miripool import PoolManager", "",
    `pool = PoolManager.getPool(${quoted(pool)})`,
    ...names.map((name, i) => `${name} = pool.ref(${quoted(urns[i])})`),
    ...(both ? arrays.map((array, i) => `frame_${i + 1} = ${array}`)
      : arrays.length > 1 ? [`frame = ${arrays[0]}`, `frame -= ${arrays[1]}`] : [`frame = ${arrays[0]}`]),
  ].join("\n");
}
