// The controls of the image view: which frame is shown, and how it is drawn. They say what is wanted; they fetch nothing.

import { COLOURS, mapName, mapOf } from "./colours.js";
import { fill, h } from "../dom.js";
import { FASTEST_BLINK, imagesOf, tagText } from "./imagestate.js";
import { LIMITS, SCALES } from "./scales.js";

const LEFT_OUT = "zscale, percentiles and the histogram leave out reference pixels, outermost columns of another brightness, "
  + "and pixels whose flag DO_NOT_USE is known. “min, max” counts all.";

/** A labelled select: { element, set(value, pairs) }; pairs are [value, text]. */
function choice(label, pairs, onChange, options = {}) {
  const select = h("select", { on: { change: () => onChange(select.value) }, ...options });
  let shown = "";
  const set = (value, now = pairs) => {
    const key = JSON.stringify(now);
    if (key !== shown) fill(select, now.map(([name, text]) => h("option", { value: name }, text))); // an open list stays open
    shown = key;
    select.value = value;
  };
  return { element: h("label.iv-field", {}, h("span", {}, label), select), select, set };
}

function button(text, label, onClick, options = {}) {
  return h("button", { type: "button", "aria-label": label, title: label, on: { click: onClick }, ...options }, text);
}

/** The control of one axis, e.g. of groups: slider, number, steps and play. People count from 1. */
function axisControl(axis, number, act) {
  const name = axis.name[0].toUpperCase() + axis.name.slice(1), alone = axis.length < 2;
  const go = (text) => {
    const to = Math.round(Number(text));
    if (to >= 1 && to <= axis.length) act.goTo(number, to - 1);
  };
  const slider = h("input", {
    type: "range", min: 1, max: axis.length, step: 1, "aria-label": name, disabled: alone, on: { input: () => go(slider.value) },
  });
  const typed = h("input", {
    type: "number", min: 1, max: axis.length, step: 1, "aria-label": `${name}, number`, disabled: alone,
    on: { change: () => { go(typed.value); } },
  });
  const say = `Play: ${axis.name}s one after the other`;
  const play = button("▶", say, () => act.play(number), { disabled: alone, "aria-pressed": "false" });
  const back = button("‹", `Previous ${axis.name}`, () => act.step(number, -1));
  const on = button("›", `Next ${axis.name}`, () => act.step(number, 1));
  const element = h("div.iv-axis", { role: "group", "aria-label": name }, h("span.iv-name", {}, name), back, slider, on, typed,
    h("span.iv-of", {}, `of ${axis.length}`), play);
  const set = (index, playing) => {
    slider.value = typed.value = index + 1;
    back.disabled = index === 0;
    on.disabled = index === axis.length - 1;
    play.setAttribute("aria-pressed", String(playing));
    play.textContent = playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", playing ? "Pause" : say);
  };
  return { element, set };
}

/** What can be subtracted, as [value, text]. */
function minusPairs({ axes, dataset, minus }, about) {
  if (dataset.flags) return [["", "nothing"]];
  const last = axes.at(-1)?.name, pairs = [["", "nothing"]];
  if (last) pairs.push(["previous", `previous ${last}`], ["first", `first ${last}`]);
  for (const version of about.versions) {
    if (version.serial !== about.serial) pairs.push([`serial:${version.serial}`, `version ${version.version}${tagText(version)}`]);
  }
  if (!pairs.some(([value]) => value === minus)) pairs.push([minus, minus.replace("serial:", "serial ")]);
  return pairs;
}

/** The buttons of zoom; set(zoom) says it, in screen pixels per pixel. */
export function zoomButtons(act) {
  const said = h("output.iv-zoom", { "aria-label": "Zoom, screen pixels per pixel" });
  const element = h("div.iv-buttons", { role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out (key -)", () => act.zoom(1 / 1.5)), button("+", "Zoom in (key +)", () => act.zoom(1.5)),
    button("Fit", "Fit the frame to the window (key 0)", act.fit), button("1:1", "One screen pixel per pixel (key 1)", act.exact), said);
  return { element, set: (zoom) => { said.textContent = `× ${zoom >= 10 ? zoom.toFixed(0) : zoom.toFixed(2)}`; } };
}

/** The controls of a comparison: mode, rate of blinking, pause, change by hand. */
function compareControls(act) {
  const modes = [["blink", "blinking"], ["difference", "first minus second"], ["side", "side by side"]];
  const mode = choice("Show", modes, (value) => act.set({ mode: value }));
  const rate = h("input", {
    type: "number", min: 0, max: FASTEST_BLINK, step: 0.5, on: { change: () => act.set({ rate: rate.value === "" ? "1" : rate.value }) },
  });
  const field = h("label.iv-field", {}, h("span", {}, "Changes a second"), rate);
  const pause = h("button", { type: "button", on: { click: act.pause } }, "Pause");
  const byHand = h("button", { type: "button", title: "Key b", on: { click: act.blink } }, "Change");
  const blinking = h("div.iv-blink", {}, field, pause, byHand);
  const set = (settings, paused) => {
    mode.set(settings.mode);
    if (document.activeElement !== rate) rate.value = settings.rate;
    blinking.hidden = settings.mode !== "blink";
    pause.textContent = paused ? "Blink" : "Pause";
  };
  return { element: h("div.iv-compare", {}, mode.element, blinking), set };
}

/**
 * The controls above the image.
 * @param {object} act - set(changes), goTo(axis, index), step(axis, by), play(axis), blink(), pause().
 * @returns {{element: HTMLElement, sync: function}} sync(settings, {playing, paused}) shows settings.
 */
export function toolbar(settings, abouts, act) {
  const datasets = choice("Dataset", imagesOf(abouts[0]).map(({ name }) => [name, name]), (dataset) => act.set({ dataset }));
  const axes = h("div.iv-axes");
  const minus = settings.mode === "single" ? choice("Minus", [], (value) => act.set({ minus: value })) : null;
  const compare = minus ? null : compareControls(act);
  let shown = "", controls = [];
  const sync = (now, { playing, paused }) => {
    datasets.set(now.dataset.name);
    const key = JSON.stringify(now.axes);
    if (key !== shown) {
      controls = now.axes.map((axis, i) => axisControl(axis, i, act));
      fill(axes, controls.map(({ element }) => element));
      shown = key;
    }
    controls.forEach(({ set }, i) => set(now.index[i], playing === i));
    const pairs = minusPairs(now, abouts[0]);
    minus?.set(now.minus, pairs);
    if (minus) minus.element.hidden = pairs.length < 2;
    compare?.set(now, paused);
  };
  const element = h("div.iv-tools", { role: "group", "aria-label": "Frame" }, datasets.element, axes,
    (minus ?? compare).element);
  return { element, sync };
}

/** Read a number as people type it, or NaN. */
function readNumber(text) {
  return text.trim() ? Number(text.trim().replace("−", "-").replace(",", ".")) : NaN;
}

/** Say what is wrong with two typed limits, or "". */
function complaintAbout(low, high) {
  for (const text of [low, high]) {
    if (!Number.isFinite(readNumber(text))) return text.trim() ? `“${text}” is no number.` : "A limit is empty.";
  }
  return readNumber(low) < readNumber(high) ? "" : `The low limit must be below the high one, and ${low} is not below ${high}.`;
}

/** The controls of drawing: scale, limits, colours, or a flag of `flags`; { element, sync(settings, limits or null) }. */
export function drawingControls(act, flags) {
  const scale = choice("Scale", SCALES, (value) => act.set({ scale: value }));
  const limits = choice("Limits", LIMITS, (value) => (value === "manual" ? act.keepLimits() : act.set({ limits: value, lo: "", hi: "" })),
    { title: LEFT_OUT });
  const colours = choice("Colours", COLOURS, (value) => act.colours(mapName(value, inverted.checked)));
  const inverted = h("input", { type: "checkbox", on: { change: () => act.colours(mapName(colours.select.value, inverted.checked)) } });
  const typed = (name) => h("input", { type: "text", inputmode: "decimal", size: 10, "aria-label": name, on: { change: () => type() } });
  const lo = typed("Low limit"), hi = typed("High limit");
  let used = [NaN, NaN];
  const write = (input, value) => { input.value = Number.isNaN(value) ? "" : String(Number(value.toPrecision(7))); };
  const type = () => {
    const wrong = complaintAbout(lo.value, hi.value);
    if (!wrong) return act.limits(readNumber(lo.value), readNumber(hi.value));
    [lo, hi].forEach((input, i) => write(input, used[i]));
    complaint.textContent = `${wrong} The limits stay as they are.`;
    return undefined;
  };
  const complaint = h("p.iv-complaint", { role: "alert" });
  const typing = h("div.iv-typed", {}, lo, h("span", {}, "to"), hi);
  const flag = choice("Flag", [["", "any flag"], ...flags.map(({ name }) => [name, name])], (value) => act.set({ flag: value }));
  const sync = (settings, found) => {
    used = found ?? [NaN, NaN];
    scale.set(settings.scale);
    limits.set(settings.limits);
    flag.set(settings.flag);
    colours.set(mapOf(settings.colours).name);
    inverted.checked = mapOf(settings.colours).inverted;
    [lo, hi].forEach((input, i) => { if (document.activeElement !== input) write(input, used[i]); });
    complaint.textContent = "";
    for (const part of [scale.element, limits.element, typing]) part.hidden = settings.dataset.flags;
    flag.element.hidden = !settings.dataset.flags; // a flag is set or not: limits would say nothing
  };
  const element = h("div.iv-drawing", {}, scale.element, limits.element, flag.element, colours.element,
    h("label.iv-check", {}, inverted, h("span", {}, "inverted")), typing, complaint);
  return { element, sync };
}
