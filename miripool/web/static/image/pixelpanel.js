// The panel beside the image that shows the marked pixel. What is in it comes from pixelbeside.js, which is fetched soon after
// the image, so that the first click does not wait for it.

import { fill, h } from "../dom.js";
import { referenceText } from "./imagestate.js";
import { elementText } from "./readout.js";

const NO_PLACE = "This product has no place on a detector, so its pixels have no history.";
const SOON = 400;
const NOT_LOADED = "The part of the page that shows pixels could not be loaded. Reload the page.";

export class PixelPanel {
  /** @param {object} given - pool, abouts (the API's answers on the version, or on two), go, session, signal, close(). */
  constructor(given) {
    Object.assign(this, given, { shown: "", stop: null });
    this.title = h("h2");
    this.body = h("div.iv-pixelbody");
    this.element = h("section.iv-section.iv-pixel", { hidden: true, "aria-label": "Marked pixel" },
      h("div.iv-pixelhead", {}, this.title,
        h("button.close", { type: "button", "aria-label": "Remove the mark", on: { click: this.close } }, "×")),
      this.body);
    this.signal.addEventListener("abort", () => this.stop?.abort());
    setTimeout(() => import("../pixel/pixelbeside.js").catch(() => null), SOON);
  }

  /** Show a pixel { x, y } of the FULL array, 1-based, or none; `integration` counts from 1. */
  async show(pixel, dataset, integration) {
    const key = pixel ? JSON.stringify([pixel, dataset, integration]) : "";
    if (key === this.shown) return;
    this.shown = key;
    this.stop?.abort();
    this.element.hidden = !pixel;
    if (!pixel) return void fill(this.body);
    fill(this.title, `Pixel x ${pixel.x}, y ${pixel.y}`);
    if (!this.abouts[0].place) return void fill(this.body, h("p.faint", {}, NO_PLACE));
    this.stop = new AbortController();
    await this.mount(pixel, dataset, integration, this.stop.signal);
  }

  /** Say what a mark is that is no pixel of the detector; { x, y } count from 1 in its array. */
  tellApart(cell, settings) {
    const [about] = this.abouts, name = elementText(cell, { x: 1, y: 1 }, settings), isReference = settings.of === "reference";
    if (name === this.shown) return;
    this.shown = name;
    this.stop?.abort();
    this.element.hidden = false;
    fill(this.title, isReference ? "Reference output" : "No pixel of the detector");
    const what = isReference
      ? `the ${referenceText(about, cell)}`
      : `in frames that have not the ${about.place.rows} rows and ${about.place.columns} columns of the detector’s part`;
    fill(this.body, h("p", {}, `${name} is ${what}. It is no pixel of the detector, so it has no history.`));
  }

  async mount({ x, y }, dataset, integration, signal) {
    let module = null;
    try {
      module = await import("../pixel/pixelbeside.js");
    } catch {
      return void fill(this.body, h("p.problem", { role: "alert" }, NOT_LOADED));
    }
    if (signal.aborted) return undefined;
    const { pool, abouts: [first, second = null], go, session } = this, { serial, detector } = first;
    const asked = { pool, serial, second: second?.serial ?? null, x, y, detector, dataset, integration };
    try {
      await module.mountPixel(this.body, { ...asked, go, session, signal });
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return undefined;
      fill(this.body, h("p.problem", { role: "alert" }, error.message));
      if (error.kind === undefined) console.error(error);
    }
    return undefined;
  }
}
