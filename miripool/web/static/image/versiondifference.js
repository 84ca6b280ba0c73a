// The section that says what differs between two versions: datasets, elements, keywords. It asks when the image is there.

import { get, poolPath } from "../api.js";
import { fill, h } from "../dom.js";
import { apart } from "./imageparts.js";
import { tagText } from "./imagestate.js";

/** Sentences that are shown at first. */
const FIRST = 30;

export class VersionDifference {
  /** @param {object[]} abouts - the two versions; the difference goes from the second, the old one, to the first. */
  constructor(pool, abouts, signal) {
    Object.assign(this, { pool, abouts, signal, asked: false });
    this.body = h("div.iv-differ");
    const open = matchMedia("(min-width: 901px)").matches;
    this.element = h("details.iv-section", { open, on: { toggle: () => this.load() } }, h("summary", {}, "What differs"), this.body);
  }

  /** Ask for the difference, once, as soon as it is open. */
  async load() {
    if (this.asked || !this.element.open || this.signal.aborted) return;
    this.asked = true;
    const [first, second] = this.abouts;
    fill(this.body, h("p.waiting", {}, "Comparing …"));
    try {
      const { words } = await get(poolPath(this.pool, "products", second.serial, "diff", first.serial), {}, this.signal);
      this.show(words);
    } catch (error) {
      if (error.name === "AbortError" || this.signal.aborted) return;
      fill(this.body, h("p.problem", { role: "alert" }, error.message));
      this.asked = false; // opened again, it asks again
    }
  }

  show(words) {
    const name = (about) => `${apart(about, this.abouts)}${tagText(about)}`, [first, second] = this.abouts;
    const list = h("ul", { tabindex: "0", "aria-label": "What differs" }, words.slice(0, FIRST).map((text) => h("li", {}, text)));
    const more = words.length - FIRST, all = () => {
      list.append(...words.slice(FIRST).map((text) => h("li", {}, text)));
      rest.remove();
    };
    const rest = h("button", { type: "button", on: { click: all } }, `and ${more.toLocaleString("en")} more`);
    fill(this.body, h("p.faint", {}, `From the second, ${name(second)}, to the first, ${name(first)}: old → new.`),
      words.length ? list : h("p", {}, "Nothing differs but the times of making."), more > 0 ? rest : null);
  }
}
