// The panel beside the image that shows the marked pixel. What is in it comes from pixel.js, which is fetched soon after
// the image, so that the first click does not wait for it.

import { fill, h } from "../dom.js";

const NO_PLACE = "This product has no place on a detector, so its pixels have no history.";
const SOON = 400;
const NOT_LOADED = "The part of the page that shows pixels could not be loaded. Reload the page.";

export class PixelPanel {
  /** @param {object} given - pool, about (the API's answer on the version), go, session, signal, close(). */
  constructor(given) {
    Object.assign(this, given, { shown: "", stop: null });
    this.title = h("h2");
    this.body = h("div.iv-pixelbody");
    this.element = h("section.iv-section.iv-pixel", { hidden: true, "aria-label": "Marked pixel" },
      h("div.iv-pixelhead", {}, this.title,
        h("button.close", { type: "button", "aria-label": "Remove the mark", on: { click: this.close } }, "×")),
      this.body);
    this.signal.addEventListener("abort", () => this.stop?.abort());
    setTimeout(() => import("../pixel/pixel.js").catch(() => null), SOON);
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
    if (!this.about.place) return void fill(this.body, h("p.faint", {}, NO_PLACE));
    this.stop = new AbortController();
    await this.mount(pixel, dataset, integration, this.stop.signal);
  }

  async mount({ x, y }, dataset, integration, signal) {
    let module = null;
    try {
      module = await import("../pixel/pixel.js");
    } catch {
      return void fill(this.body, h("p.problem", { role: "alert" }, NOT_LOADED));
    }
    if (signal.aborted) return undefined;
    const { pool, about, go, session } = this;
    try {
      const { serial, detector } = about;
      await module.mountPixel(this.body, { pool, serial, x, y, detector, dataset, integration, go, session, signal });
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return undefined;
      fill(this.body, h("p.problem", { role: "alert" }, error.message));
      if (error.kind === undefined) console.error(error);
    }
    return undefined;
  }
}
