// The DQ flags of the frames that are shown: fetched when something shows them, listed in a panel, laid over the image.

import { flagPanel } from "./flagpanel.js";
import { countBits, flagList, joined, namesOf, overlayOf } from "./flags.js";
import { flagWishes, indexIn } from "./imagestate.js";

/** Milliseconds that the pointer rests on the image until flags are fetched. */
const REST = 150;

let panelOpen = false; // stays over exposures

export class FrameFlags {
  /**
   * @param {object} image - the view: abouts, settings, frames, turn, player, signal, set(changes), place().
   * @param {FrameCache} cache - of frames of flags.
   */
  constructor(image, cache) {
    Object.assign(this, { image, cache, list: flagList(image.abouts[0].flags), sides: [], pointed: false, timer: 0 });
    this.panel = flagPanel({
      open: panelOpen || image.settings.dq.length > 0 || image.settings.dataset.flags,
      onChange: (names) => image.set({ dq: names.join(",") }),
      onOpen: (open) => { panelOpen = open; if (open) this.load(); },
    });
    image.signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  get element() {
    return this.panel.element;
  }

  /** Forget the flags: other frames are shown. */
  clear() {
    this.sides = [];
  }

  /** From the first time that the pointer rests on the image, the flags of its pixels are shown. */
  pointAt() {
    if (this.sides.length || this.timer) return;
    this.timer = setTimeout(() => { Object.assign(this, { timer: 0, pointed: true }); this.load(); }, REST);
  }

  /** Fetch the flags of the frames, if something shows them. */
  async load() {
    const { image, cache } = this, { settings, turn, frames, abouts } = image;
    const pointed = this.pointed && image.player.axis === null;
    this.sync();
    if (!(this.element.open || pointed || settings.dq.length) || !frames.length || this.sides.length) return;
    const wishes = frames.map((_, i) => flagWishes(settings, abouts[i], indexIn(abouts[i], settings, settings.index)));
    cache.keepOnly(wishes.flat());
    const isOld = () => turn !== image.turn || image.signal.aborted || !image.frames.length;
    try {
      const found = await Promise.all(wishes.map((side) => Promise.all(side.map((wish) => cache.get(wish)))));
      if (isOld()) return;
      this.sides = found.map(sideOf);
    } catch (error) {
      if (error.name !== "AbortError" && !isOld()) this.sync(error.message);
      return;
    }
    this.sync();
    image.place();
  }

  /** Give the flags of the first frame if they are there without fetching, or null. */
  known() {
    const kept = flagWishes(this.image.settings, this.image.abouts[0]).map((wish) => this.cache.peek(wish));
    return kept.length && kept.every(Boolean) ? joined(kept.map(({ values }) => values)) : null;
  }

  /** Give the overlay of a frame, or null; kept as long as the same flags are chosen. */
  overlay(which) {
    const side = this.sides[which], { dq } = this.image.settings, chosen = this.list.filter(({ name }) => dq.includes(name));
    if (!side || !chosen.length || side.values.length !== this.image.frames[which].values.length) return null;
    const key = dq.join(",");
    if (key !== side.key) Object.assign(side, { key, overlay: overlayOf(side.values, chosen) });
    return side.overlay;
  }

  /** Give the names of the flags of a place, of each frame, as a function of the place; null if not yet known. */
  names() {
    const known = this.sides.filter(Boolean);
    return known.length ? (at) => known.map(({ values }) => namesOf(values[at], this.list)) : null;
  }

  sync(problem = "") {
    const first = this.sides[0], { settings, abouts } = this.image;
    if (first && this.element.open) first.counts ??= countBits(first.values);
    const from = flagWishes(settings, abouts[0]).map(({ dataset }) => dataset);
    this.panel.sync(this.list, first?.counts ?? null, settings.dq, from, problem);
  }
}

function sideOf(arrays) {
  return arrays.length ? { values: joined(arrays.map(({ values }) => values)), counts: null, overlay: null, key: "" } : null;
}
