// The view of one image, and of two that are compared: it fetches frames, draws them, and keeps the URL in step.

import { get, getArray, poolPath } from "../api.js";
import { lookupTable, mapOf, packedHex } from "./colours.js";
import { fill, h } from "../dom.js";
import { flagFrame, flagWords } from "./flags.js";
import { FrameCanvas } from "./frame.js";
import { FrameCache } from "./framecache.js";
import { FrameFlags } from "./frameflags.js";
import { ColourBar, Histogram } from "./histogram.js";
import { drawingControls, toolbar, zoomButtons } from "./imagecontrols.js";
import { handleKey } from "./imagekeys.js";
import { captionOf, compareHead, compass, dataSection, imageHead, keysSection, labelOf, sendButton, withoutImage } from "./imageparts.js";
import { coordinatesOf, flagText, frameText, parcelsFor, readSettings, stepped, wishesFor } from "./imagestate.js";
import { openMenu } from "../menu.js";
import { PixelPanel } from "./pixelpanel.js";
import { Player } from "./player.js";
import { readoutOf } from "./readout.js";
import { extent, ruleLimits, stretchOf, usableLimits } from "./scales.js";
import { canSend, sendItems } from "../samp/sending.js";
import { scienceValues } from "./sciencepixels.js";
import { VersionDifference } from "./versiondifference.js";

/** Milliseconds until the URL is written: browsers refuse more than some hundred changes in half a minute. */
const WRITE = 200;

let pool = "";
const frames = new FrameCache(fetchFrame), flagFrames = new FrameCache(fetchFrame);
let shown = null;

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

/** Mark the pixel that another program points at, if this image has it. */
export function receive(event) {
  return shown && event.what === "pixel" ? shown.point(event) : event;
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
    Object.assign(this, context, { state: { ...state }, abouts, settings });
    Object.assign(this, { frames: [], wishes: "", turn: 0, front: 0, hovered: null, cell: null });
    Object.assign(this, { values: new WeakMap(), limits: null, said: "" });
    Object.assign(this, { timers: {}, paused: matchMedia("(prefers-reduced-motion: reduce)").matches, lookups: "" });
    this.player = new Player(this);
    this.flags = new FrameFlags(this, flagFrames);
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
    this.drawing = drawingControls(this.actions(), this.flags.list);
    this.histogram = new Histogram((lo, hi, dragging) => this.setLimits(lo, hi, dragging), signal);
    this.data = dataSection(abouts, state.pool);
    const close = () => this.unmark();
    this.pixelPanel = new PixelPanel({ pool: state.pool, abouts, go, session: this.session, signal, close });
    this.difference = compare ? new VersionDifference(state.pool, abouts, signal) : null;
    const send = canSend(this.session) ? sendButton((x, y) => this.openSendMenu(x, y)) : null;
    this.head = compare ? compareHead(state, abouts, go, send) : imageHead(state, abouts[0], go, send);
    const limits = h("details.iv-section", { open: true }, h("summary", {}, "Scale, limits and colours"),
      this.drawing.element, this.histogram.element);
    fill(root, h("section.iv", {},
      this.head.element,
      this.tools.element,
      h("div.iv-body", {},
        h("div.iv-main", {}, this.stage, this.bar.element, this.under),
        h("aside.iv-side", { "aria-label": "Pixel, limits and flags" }, this.pixelPanel.element, this.difference?.element,
          limits, this.flags.element, this.data.element, keysSection()))));
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
    canvas.addEventListener("contextmenu", (event) => {
      if (!canSend(this.session)) return;
      event.preventDefault();
      this.openSendMenu(event.clientX, event.clientY);
    }, { signal: this.signal });
    return { element: h("div.iv-pane", {}, canvas, caption), canvas, caption, view };
  }

  /** What the controls and keys can do. */
  actions() {
    return {
      set: (changes) => this.set(changes), goTo: (axis, to) => this.goTo(axis, to), step: (axis, by) => this.step(axis, by),
      play: (axis) => this.player.toggle(axis), zoom: (factor) => this.panes[0].view.zoomBy(factor), fit: () => this.fit(),
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
    if (other || "limits" in changes) this.player.limits = null;
    if ("dataset" in changes) this.cell = null;
    this.settings = readSettings(this.state, this.abouts);
    this.write();
    return this.refresh();
  }

  write() {
    this.head.sync();
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
    if (pixel) this.flags.pointAt();
    this.tell();
  }

  /** What is marked, in the coordinates of the frames. What is no pixel of the detector is marked apart from pixels. */
  get mark() {
    return this.isApart ? this.cell : this.settings.pixel;
  }

  get isApart() {
    return this.settings.of === "reference" || this.settings.of === "array";
  }

  pick({ x, y }) {
    if (!this.isApart) return this.set({ pixel: `${x},${y}` });
    this.cell = { x, y };
    return this.refresh();
  }

  openSendMenu(x, y) {
    openMenu(x, y, sendItems(this.state.pool, parcelsFor(this.settings, this.abouts), this.session));
  }

  /** Mark a pixel of the FULL array; gives the event if there is more to say, or no such pixel. */
  point(event) {
    const { x, y, detector, version, integration } = event, [{ place, ...about }] = this.abouts;
    if (!place || this.isApart || (detector && detector !== about.detector)) return event;
    if (x < place.x || y < place.y || x >= place.x + place.columns || y >= place.y + place.rows) return event;
    const isSame = !version || this.abouts.some(({ urn }) => urn === version.urn);
    this.set({ pixel: `${x},${y}`, ...(isSame && integration ? { integration } : {}) });
    return isSame ? null : event;
  }

  unmark() {
    this.cell = null;
    return this.set(this.isApart ? {} : { pixel: "" });
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
      this.checkShapes(found);
      this.frames = found.map((array, i) => this.placed(array, this.abouts[i]));
      this.flags.clear();
      this.problem.hidden = true;
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn || this.signal.aborted) return;
      this.fail(error);
    } finally {
      if (turn === this.turn) this.waiting(null);
    }
    if (!this.frames.length) return;
    this.present();
    this.difference?.load();
    for (const wish of ahead) frames.get(wish).catch(() => {}); // its fault shows when it is wanted
  }

  /** The next frame along the last axis, which is asked for most often; two of them along the axis that plays. */
  ahead() {
    const { axis: playing } = this.player, axis = playing ?? this.settings.axes.length - 1;
    if (axis < 0) return [];
    const next = (playing === null ? [1] : [1, 2]).map((by) => stepped(this.settings, axis, by, playing !== null));
    return next.filter(Boolean).flatMap((index) => wishesFor(this.settings, this.abouts, index));
  }

  /** Frames of flags are compared here, other frames by the server. */
  checkShapes([first, second]) {
    const { mode, dataset } = this.settings;
    if (mode !== "difference" || !dataset.flags || String(first.shape) === String(second.shape)) return;
    const shapes = [first, second].map(({ shape }) => shape.join(" × ")).join(" and ");
    const message = `The frames have the shapes ${shapes}; frames of one shape can be compared.`;
    throw Object.assign(new Error(message), { kind: "invalid-input" });
  }

  placed({ values, shape }, about) {
    const [ny, nx] = shape;
    return { values, nx, ny, ...coordinatesOf(about, shape), drawn: new Map() };
  }

  /** Give the frame that is drawn: a frame of flags shows one flag, or any. */
  drawn(which) {
    const frame = this.frames[which], { dataset, mode, flagValue } = this.settings;
    if (!dataset.flags) return frame;
    const second = mode === "difference" ? this.frames[1].values : null;
    if (!frame.drawn.has(flagValue)) frame.drawn.set(flagValue, { ...frame, values: flagFrame(frame.values, flagValue, second) });
    return frame.drawn.get(flagValue);
  }

  waiting(wishes) {
    clearTimeout(this.timers.busy);
    this.busy.hidden = true;
    if (wishes?.every((wish) => frames.has(wish))) return;
    if (wishes) this.timers.busy = setTimeout(() => { this.busy.hidden = false; }, 200);
  }

  fail(error) {
    this.frames = [];
    this.flags.clear();
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
    this.flags.load();
  }

  /** Put each frame on its pane. */
  place() {
    this.panes.forEach(({ view, caption, element, canvas }, i) => {
      const which = this.settings.mode === "blink" ? this.front : i;
      if (element.hidden || !this.frames[which]) return;
      const frame = this.drawn(which);
      view.setFrame(frame, this.frames[0]);
      view.setOverlay(this.flags.overlay(which));
      view.setMark(this.mark);
      caption.textContent = captionOf(this.settings, this.abouts, which, frame.values, this.about(frame.values));
      caption.hidden = caption.textContent === "";
      canvas.setAttribute("aria-label", [caption.textContent, labelOf(this.settings, this.abouts)].filter(Boolean).join(". "));
    });
    this.zoom.set(this.panes[0].view.view.zoom);
    this.tell();
  }

  /** Colour the frames: limits from the first one, the same for both. */
  colour() {
    if (!this.frames.length) return;
    const { scale, colours, symmetric, dataset, mode } = this.settings;
    const first = this.drawn(0);
    this.limits = this.limitsOf(first);
    const [lo, hi] = this.limits, { there, back } = stretchOf(scale, symmetric);
    const key = JSON.stringify([colours, scale, symmetric]);
    if (key !== this.lookups) Object.assign(this, { lookups: key, table: lookupTable(colours, there) });
    const lookup = { table: this.table, lo, hi, nan: packedHex(mapOf(colours).nan) };
    for (const { view } of this.panes) view.setLookup(lookup);
    this.bar.element.classList.remove("iv-idle");
    const unit = dataset.flags ? flagText(this.settings) : dataset.unit;
    this.bar.update(colours, this.limits, back, unit, this.about(first.values).nan, dataset.flags ? flagWords(mode, symmetric) : null);
    this.drawing.sync(this.settings, this.limits);
    clearTimeout(this.timers.histogram); // after the image, which must not wait for it
    const count = () => this.histogram.update(this.scienceOf(first), first.nx, this.limits, colours);
    if (!dataset.flags) this.timers.histogram = setTimeout(count, 0);
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

  /** Give the values that automatic limits are counted on; for a frame they stay the same. */
  scienceOf(frame) {
    const about = this.about(frame.values);
    about.science ??= scienceValues(frame, this.abouts[0].place, this.flags.known());
    return about.science;
  }

  limitsOf(frame) {
    const { limits, lo, hi, symmetric, dataset } = this.settings, { player } = this;
    if (dataset.flags) return usableLimits([0, 1], symmetric);
    if (limits === "manual") return usableLimits([lo, hi], symmetric);
    if (player.limits) return player.limits;
    const { rules, min, max } = this.about(frame.values);
    rules[limits] ??= limits === "minmax" ? [min, max] : ruleLimits(limits, this.scienceOf(frame), frame.nx);
    const found = usableLimits(rules[limits], symmetric);
    if (player.axis !== null) player.limits = found;
    return found;
  }

  // ---- words -----------------------------------------------------------------------------------------------------

  syncControls() {
    this.histogram.element.hidden = this.settings.dataset.flags;
    this.tools.sync(this.settings, { playing: this.player.axis, paused: this.paused });
  }

  title() {
    const versions = this.abouts.map(({ name, version }) => `${name} v${version}`).join(", ");
    document.title = `${frameText(this.settings, this.abouts)} · ${versions} · miripool`;
  }

  /** Tell of the pixel below the pointer, or of the marked one. */
  tell() {
    const pixel = this.hovered ?? this.mark;
    const made = readoutOf(pixel, this.frames, this.settings, this.abouts, this.flags.names()).filter(Boolean);
    const said = made.map(({ textContent }) => textContent).join("|");
    if (said === this.said) return; // a blinking picture must not speak each time
    this.said = said;
    this.readout.setAttribute("aria-live", this.hovered ? "off" : "polite"); // a screen reader says where keys move the mark, not the pointer's way
    fill(this.readout, made);
  }

  showPixel() {
    const { dataset, axes, index } = this.settings, { mark } = this;
    const at = axes.findIndex(({ name }) => name === "integration");
    if (mark && this.isApart) this.pixelPanel.tellApart(mark, this.settings);
    else this.pixelPanel.show(mark, dataset.name, at < 0 ? null : index[at] + 1);
    for (const { view } of this.panes) view.setMark(mark);
  }

  end() {
    Object.values(this.timers).forEach(clearTimeout);
    clearInterval(this.timers.blink);
    this.player.end();
    this.turn++;
    frames.keepOnly([]);
    flagFrames.keepOnly([]);
  }
}
