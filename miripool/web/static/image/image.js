// The view of one image, and of two that are compared: it fetches frames, draws them, and keeps the URL in step.

import { get, getArray, poolPath } from "../api.js";
import { lookupTable, mapOf, packedHex } from "./colours.js";
import { fill, h } from "../dom.js";
import { countBits, flagList, joined, namesOf, overlayOf } from "./flags.js";
import { flagPanel } from "./flagpanel.js";
import { FrameCanvas } from "./frame.js";
import { FrameCache } from "./framecache.js";
import { ColourBar, Histogram } from "./histogram.js";
import { drawingControls, toolbar, zoomButtons } from "./imagecontrols.js";
import { handleKey } from "./imagekeys.js";
import { captionOf, compareHead, compass, dataSection, imageHead, keysSection, labelOf, withoutImage } from "./imageparts.js";
import { flagWishes, frameText, indexIn, originOf, readSettings, stepped, wishesFor } from "./imagestate.js";
import { PixelPanel } from "./pixelpanel.js";
import { readoutOf } from "./readout.js";
import { extent, ruleLimits, stretchOf, usableLimits } from "./scales.js";

/** Milliseconds between two frames that play; a frame that takes longer to come is waited for. */
const PLAY = 350;
/** Milliseconds until the URL is written: browsers refuse more than some hundred changes in half a minute. */
const WRITE = 200;

let pool = "";
const frames = new FrameCache(fetchFrame), flagFrames = new FrameCache(fetchFrame);
let shown = null;
let flagsOpen = false; // stays over exposures

function fetchFrame({ serial, created, ...parameters }, signal) {
  return getArray(poolPath(pool, "products", serial, "frame"), parameters, signal);
}

/** Show the image of a version, or of two. */
export async function show(root, state, context) {
  const ask = (serial) => get(poolPath(state.pool, "products", serial, "view"), {}, context.signal);
  const serials = [state.serial, ...(state.view === "compare" && state.with ? [state.with] : [])];
  const [abouts] = await Promise.all([Promise.all(serials.map(ask)), addSheet()]);
  if (context.signal.aborted) return;
  if (pool !== state.pool) { frames.clear(); flagFrames.clear(); }
  pool = state.pool;
  const settings = readSettings(state, abouts);
  if (!settings) {
    document.title = `${abouts[0].name} · miripool`;
    fill(root, withoutImage(state, abouts[0], context.go));
    return;
  }
  shown = new ImageView(root, state, abouts, settings, context);
  await shown.refresh();
}

/** End what the view does. */
export function leave() {
  shown?.end();
  shown = null;
}

let sheet = null;

/** Add the style sheet of this view, once. */
function addSheet() {
  sheet ??= new Promise((done) => {
    document.head.append(h("link", { rel: "stylesheet", href: "static/image/image.css", on: { load: done, error: done } }));
  });
  return sheet;
}

class ImageView {
  constructor(root, state, abouts, settings, context) {
    Object.assign(this, context, { state: { ...state }, abouts, settings, flagList: flagList(abouts[0].flags) });
    Object.assign(this, { frames: [], flags: [], wishes: "", turn: 0, front: 0, hovered: null, playing: null });
    Object.assign(this, { values: new WeakMap(), limits: null, wantFlags: false, said: "" });
    Object.assign(this, { timers: {}, paused: matchMedia("(prefers-reduced-motion: reduce)").matches, lookups: "" });
    this.build(root);
    for (const pane of this.panes) pane.view.setView(settings.view);
  }

  // ---- the page ------------------------------------------------------------------------------------------------

  build(root) {
    const { state, abouts, signal } = this;
    const compare = abouts.length > 1, go = (to) => this.travel(to);
    this.panes = abouts.map((_, i) => this.makePane(i));
    this.busy = h("div.iv-busy", { hidden: true }, "Loading …");
    this.problem = h("div.iv-problem", { role: "alert", hidden: true });
    this.readout = h("div.iv-readout");
    this.zoom = zoomButtons(this.actions());
    this.under = h("div.iv-under", {}, this.readout, this.zoom.element);
    this.stage = h("div.iv-stage", {}, this.panes.map(({ element }) => element), this.busy, this.problem);
    this.bar = new ColourBar(compass());
    this.tools = toolbar(this.settings, abouts, this.actions());
    this.drawing = drawingControls(this.actions());
    this.histogram = new Histogram((lo, hi, dragging) => this.setLimits(lo, hi, dragging), signal);
    this.flagPanel = flagPanel({
      open: flagsOpen || this.settings.dq.length > 0 || this.settings.dataset.flags,
      onChange: (names) => this.set({ dq: names.join(",") }),
      onOpen: (open) => { flagsOpen = open; if (open) this.loadFlags(); },
    });
    this.data = dataSection(abouts, state.pool);
    const close = () => this.set({ pixel: "" });
    this.pixelPanel = new PixelPanel({ pool: state.pool, about: abouts[0], go, session: this.session, signal, close });
    const limits = h("details.iv-section", { open: true }, h("summary", {}, "Scale, limits and colours"),
      this.drawing.element, this.histogram.element);
    fill(root, h("section.iv", {},
      compare ? compareHead(state, abouts, go) : imageHead(state, abouts[0], go),
      this.tools.element,
      h("div.iv-body", {},
        h("div.iv-main", {}, this.stage, this.bar.element, this.under),
        h("aside.iv-side", { "aria-label": "Pixel, limits and flags" }, this.pixelPanel.element, limits, this.flagPanel.element,
          this.data.element, keysSection()))));
    const sizes = new ResizeObserver(() => this.sizeStage());
    for (const element of [document.body, this.tools.element, this.bar.element]) sizes.observe(element);
    addEventListener("resize", () => this.sizeStage(), { signal });
    signal.addEventListener("abort", () => sizes.disconnect());
  }

  /** Give the image the height that the window has left; a narrow window has the panels below the image, by its sheet. */
  sizeStage() {
    const beside = matchMedia("(min-width: 901px)").matches;
    const around = this.stage.getBoundingClientRect().top + scrollY + this.bar.element.offsetHeight + this.under.offsetHeight + 24;
    this.stage.style.height = beside ? `${Math.floor(Math.max(340, innerHeight - around))}px` : "";
  }

  makePane(i) {
    const canvas = h("canvas.iv-canvas", { role: "img", tabindex: "0", "aria-label": "Image" });
    const caption = h("div.iv-caption", { hidden: true });
    const view = new FrameCanvas(canvas, {
      onView: (at) => this.viewed(i, at), onHover: (pixel) => this.hover(i, pixel), onPick: (pixel) => this.pick(pixel),
    }, this.signal);
    canvas.addEventListener("keydown", (event) => handleKey(event, this, view), { signal: this.signal });
    return { element: h("div.iv-pane", {}, canvas, caption), canvas, caption, view };
  }

  /** What the controls and keys can do. */
  actions() {
    return {
      set: (changes) => this.set(changes), goTo: (axis, to) => this.goTo(axis, to), step: (axis, by) => this.step(axis, by),
      play: (axis) => this.play(axis), zoom: (factor) => this.panes[0].view.zoomBy(factor), fit: () => this.fit(),
      exact: () => this.panes[0].view.zoomTo(1), blink: () => this.blink(), pause: () => this.pause(),
      colours: (name) => this.set({ [this.settings.coloursKey]: name }),
      limits: (lo, hi) => this.setLimits(lo, hi), keepLimits: () => this.setLimits(...(this.limits ?? [0, 1])),
    };
  }

  // ---- what is wanted --------------------------------------------------------------------------------------------

  /** Change the state, show it and write it into the URL. */
  set(changes) {
    const other = ["dataset", "mode", "minus"].some((key) => key in changes); // limits of its values do not suit others
    Object.assign(this.state, other && this.state.limits === "manual" ? { limits: "", lo: "", hi: "" } : {}, changes);
    this.settings = readSettings(this.state, this.abouts);
    this.write();
    return this.refresh();
  }

  write() {
    clearTimeout(this.timers.write);
    this.timers.write = setTimeout(() => this.note(this.state), WRITE);
  }

  /** Go to another state; what is not yet in the URL gets there first, so that going back finds it. */
  travel(to) {
    clearTimeout(this.timers.write);
    this.note(this.state);
    return this.go(to);
  }

  goTo(axis, to) {
    return this.set({ [this.settings.axes[axis].key]: to + 1 });
  }

  step(axis, by, around = false) {
    const index = stepped(this.settings, axis, by, around);
    return index ? this.goTo(axis, index[axis]) : null;
  }

  /** Step along a named axis, e.g. "group"; without such an axis nothing happens. */
  stepNamed(name, by) {
    const axis = this.settings.axes.findIndex((one) => one.name === name);
    return axis < 0 ? null : this.step(axis, by);
  }

  play(axis) {
    clearTimeout(this.timers.play);
    this.playing = this.playing === axis ? null : axis;
    if (this.playing !== null) this.playOn();
    this.syncControls();
  }

  playOn() {
    this.timers.play = setTimeout(async () => {
      await this.step(this.playing, 1, true);
      if (this.signal.aborted) return;
      if (this.playing !== null && this.problem.hidden) this.playOn();
      else if (this.playing !== null) this.play(this.playing); // a problem ends it
    }, PLAY);
  }

  /** Take the limits that were dragged or typed. */
  setLimits(lo, hi, dragging = false) {
    const round = (value) => Number(value.toPrecision(7)); // as float32 tells apart
    Object.assign(this.state, { limits: "manual", lo: round(lo), hi: round(hi) });
    this.settings = readSettings(this.state, this.abouts);
    this.colour();
    if (!dragging) this.write();
  }

  fit() {
    for (const { view } of this.panes) view.fit();
    this.viewed(0, this.panes[0].view.view);
  }

  /** A pane was zoomed or moved: the other follows, and the URL. */
  viewed(i, { zoom, cx, cy, fit }) {
    if (fit && i > 0) return; // the first pane's fit is that of both
    this.panes.forEach(({ view }, other) => { if (other !== i) view.setView({ zoom, cx, cy, fit: false }); });
    const round = (value) => Number(value.toFixed(3));
    const place = { zoom: Number(zoom.toPrecision(5)), cx: round(cx), cy: round(cy) };
    Object.assign(this.state, fit ? { zoom: "", cx: "", cy: "" } : place);
    this.zoom.set(zoom);
    this.write();
  }

  blink() {
    if (this.settings.mode !== "blink") return;
    this.front = 1 - this.front;
    this.place();
  }

  pause() {
    this.paused = !this.paused;
    this.syncControls();
    this.runBlink();
  }

  runBlink() {
    clearInterval(this.timers.blink);
    const { mode, rate } = this.settings;
    if (mode === "blink" && rate > 0 && !this.paused) this.timers.blink = setInterval(() => this.blink(), 1000 / rate);
  }

  hover(pane, pixel) {
    this.hovered = pixel;
    if (pixel && !this.flags.length && !this.timers.flags) this.timers.flags = setTimeout(() => this.pointed(), 150);
    this.tell();
  }

  /** From the first time that the pointer rests on the image, the flags of its pixels are told. */
  pointed() {
    this.timers.flags = 0;
    this.wantFlags = true;
    this.loadFlags();
  }

  pick({ x, y }) {
    return this.set({ pixel: `${x},${y}` });
  }

  // ---- frames ----------------------------------------------------------------------------------------------------

  /** Show the settings: fetch frames if others are wanted, else draw those there are. */
  async refresh() {
    const two = this.settings.mode === "side";
    this.stage.classList.toggle("iv-two", two);
    if (this.panes[1]) this.panes[1].element.hidden = !two;
    this.syncControls();
    if (!this.frames.length) this.drawing.sync(this.settings, null);
    this.runBlink();
    this.data.sync(this.settings);
    this.showPixel();
    const wishes = wishesFor(this.settings, this.abouts), key = JSON.stringify(wishes);
    if (key === this.wishes) return this.present();
    this.wishes = key;
    return this.load(wishes);
  }

  async load(wishes) {
    const turn = ++this.turn;
    const ahead = this.ahead();
    frames.keepOnly([...wishes, ...ahead]);
    this.waiting(wishes);
    try {
      const found = await Promise.all(wishes.map((wish) => frames.get(wish)));
      if (turn !== this.turn || this.signal.aborted) return;
      this.frames = found.map((array, i) => this.placed(array, this.abouts[i]));
      this.flags = [];
      this.problem.hidden = true;
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn || this.signal.aborted) return;
      this.fail(error);
    } finally {
      if (turn === this.turn) this.waiting(null);
    }
    if (!this.frames.length) return;
    this.present();
    for (const wish of ahead) frames.get(wish).catch(() => {}); // its fault shows when it is wanted
  }

  /** The next frame along the last axis: the one that is asked for most often. */
  ahead() {
    const last = this.settings.axes.length - 1;
    const next = last < 0 ? null : stepped(this.settings, last, 1, this.playing !== null);
    return next ? wishesFor(this.settings, this.abouts, next) : [];
  }

  placed({ values, shape: [ny, nx] }, about) {
    const [x, y] = originOf(about);
    return { values, nx, ny, x, y };
  }

  waiting(wishes) {
    clearTimeout(this.timers.busy);
    this.busy.hidden = true;
    if (wishes?.every((wish) => frames.has(wish))) return;
    if (wishes) this.timers.busy = setTimeout(() => { this.busy.hidden = false; }, 200);
  }

  fail(error) {
    this.frames = [];
    this.flags = [];
    this.wishes = "";
    for (const { view, caption } of this.panes) {
      view.setFrame(null);
      caption.hidden = true;
    }
    this.bar.element.classList.add("iv-idle");
    fill(this.problem, h("p", {}, error.message),
      h("button", { type: "button", on: { click: () => this.refresh() } }, "Try again"));
    this.problem.hidden = false;
    this.tell();
    this.title();
    if (!error.status && error.kind === undefined) console.error(error); // no answer of the API: a fault of this page
  }

  // ---- drawing ---------------------------------------------------------------------------------------------------

  /** Draw the frames there are, with all that belongs to them. */
  present() {
    if (!this.frames.length) return;
    this.place();
    this.colour();
    this.title();
    this.loadFlags();
  }

  /** Put each frame on its pane. */
  place() {
    this.panes.forEach(({ view, caption, element, canvas }, i) => {
      const which = this.settings.mode === "blink" ? this.front : i;
      if (element.hidden || !this.frames[which]) return;
      view.setFrame(this.frames[which], this.frames[0]);
      view.setOverlay(this.overlay(which));
      view.setMark(this.settings.pixel);
      caption.hidden = this.abouts.length < 2;
      caption.textContent = captionOf(this.settings, this.abouts, which, this.about(this.frames[0].values));
      canvas.setAttribute("aria-label", [caption.textContent, labelOf(this.settings, this.abouts)].filter(Boolean).join(". "));
    });
    this.zoom.set(this.panes[0].view.view.zoom);
    this.tell();
  }

  /** Colour the frames: limits from the first one, the same for both. */
  colour() {
    if (!this.frames.length) return;
    const { scale, colours, symmetric, dataset } = this.settings;
    const first = this.frames[0];
    this.limits = this.limitsOf(first);
    const [lo, hi] = this.limits, { there, back } = stretchOf(scale, symmetric);
    const key = JSON.stringify([colours, scale, symmetric]);
    if (key !== this.lookups) Object.assign(this, { lookups: key, table: lookupTable(colours, there) });
    const lookup = { table: this.table, lo, hi, nan: packedHex(mapOf(colours).nan) };
    for (const { view } of this.panes) view.setLookup(lookup);
    this.bar.element.classList.remove("iv-idle");
    this.bar.update(colours, this.limits, back, dataset.flags ? "sum of flag bits" : dataset.unit, this.about(first.values).nan);
    this.drawing.sync(this.settings, this.limits);
    clearTimeout(this.timers.histogram); // after the image, which must not wait for it
    this.timers.histogram = setTimeout(() => this.histogram.update(first.values, first.nx, this.limits, colours), 0);
  }

  /** What is known of a frame's values: { count, min, max, nan, rules }; kept as long as the frame. */
  about(values) {
    if (!this.values.has(values)) {
      const found = extent(values);
      let nan = 0;
      if (found.count < values.length) for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) nan++;
      this.values.set(values, { ...found, nan, rules: {} });
    }
    return this.values.get(values);
  }

  limitsOf({ values, nx }) {
    const { limits, lo, hi, symmetric } = this.settings;
    if (limits === "manual") return usableLimits([lo, hi], symmetric);
    const about = this.about(values);
    about.rules[limits] ??= ruleLimits(limits, values, nx, about);
    return usableLimits(about.rules[limits], symmetric);
  }

  // ---- DQ --------------------------------------------------------------------------------------------------------

  /** Fetch the flags of the frames, if something shows them. */
  async loadFlags() {
    const open = this.flagPanel.element.open, pointed = this.wantFlags && this.playing === null;
    const needed = open || pointed || this.settings.dq.length > 0;
    this.syncFlags();
    if (!needed || !this.frames.length || this.flags.length) return;
    const { settings, turn } = this, index = (about) => indexIn(about, settings, settings.index);
    const sides = this.frames.map((_, i) => flagWishes(settings, this.abouts[i], index(this.abouts[i])));
    flagFrames.keepOnly(sides.flat());
    try {
      const found = await Promise.all(sides.map((wishes) => Promise.all(wishes.map((wish) => flagFrames.get(wish)))));
      if (turn !== this.turn || this.signal.aborted || !this.frames.length) return;
      this.flags = found.map((arrays) => this.joinFlags(arrays));
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn || this.signal.aborted) return;
      this.syncFlags(error.message);
      return;
    }
    this.syncFlags();
    this.place();
  }

  joinFlags(arrays) {
    return arrays.length ? { values: joined(arrays.map(({ values }) => values)), counts: null, overlay: null, key: "" } : null;
  }

  /** Give the overlay of a frame, or null; kept as long as the same flags are chosen. */
  overlay(which) {
    const flags = this.flags[which], chosen = this.flagList.filter(({ name }) => this.settings.dq.includes(name));
    if (!flags || !chosen.length || flags.values.length !== this.frames[which].values.length) return null;
    const key = this.settings.dq.join(",");
    if (key !== flags.key) Object.assign(flags, { key, overlay: overlayOf(flags.values, chosen) });
    return flags.overlay;
  }

  syncFlags(problem = "") {
    const first = this.flags[0], names = flagWishes(this.settings, this.abouts[0]).map(({ dataset }) => dataset);
    if (first && this.flagPanel.element.open) first.counts ??= countBits(first.values);
    this.flagPanel.sync(this.flagList, first?.counts ?? null, this.settings.dq, names, problem);
  }

  // ---- words -----------------------------------------------------------------------------------------------------

  syncControls() {
    this.tools.sync(this.settings, { playing: this.playing, paused: this.paused });
  }

  title() {
    const versions = this.abouts.map(({ name, version }) => `${name} v${version}`).join(", ");
    document.title = `${frameText(this.settings, this.abouts)} · ${versions} · miripool`;
  }

  /** Tell of the pixel below the pointer, or of the marked one. */
  tell() {
    const pixel = this.hovered ?? this.settings.pixel;
    const sides = pixel ? this.flags.filter(Boolean) : [];
    const flags = sides.length ? (at) => sides.map(({ values }) => namesOf(values[at], this.flagList)) : null;
    const made = readoutOf(pixel, this.frames, this.settings, this.abouts, flags).filter(Boolean);
    const said = made.map(({ textContent }) => textContent).join("|");
    if (said === this.said) return; // a blinking picture must not speak each time
    this.said = said;
    this.readout.setAttribute("aria-live", this.hovered ? "off" : "polite"); // a mark that keys move is told, a pointer's way not
    fill(this.readout, made);
  }

  showPixel() {
    const { pixel, dataset, axes, index } = this.settings;
    const at = axes.findIndex(({ name }) => name === "integration");
    this.pixelPanel.show(pixel, dataset.name, at < 0 ? null : index[at] + 1);
    for (const { view } of this.panes) view.setMark(pixel);
  }

  end() {
    Object.values(this.timers).forEach(clearTimeout);
    clearInterval(this.timers.blink);
    this.turn++;
    frames.keepOnly([]);
    flagFrames.keepOnly([]);
  }
}
