// Parts of a page that load by themselves: one that fails says so in its place, and the others stay.

import { ApiError } from "./api.js";
import { fill, h } from "./dom.js";

let sheet = null;

/** Add the style sheet of charts and of the pages around them, once; it is there when the promise ends. */
export function addPlotSheet() {
  sheet ??= new Promise((done) => {
    document.head.append(h("link", { rel: "stylesheet", href: "static/charts/plots.css", on: { load: done, error: done } }));
  });
  return sheet;
}

/** Give a sentence about an error, with a button that tries again. */
export function problemOf(error, again = null) {
  return h(
    "div.problem",
    { role: "alert" },
    h("pre", {}, error.message),
    again && h("button", { type: "button", on: { click: again } }, "Try again"),
  );
}

/**
 * Make a part: a heading, and what `load(signal)` gives.
 * @param {object} [options] - level of the heading, id, tall (keeps the place of a chart while it loads), beside (next to the heading).
 * @returns {{ element: HTMLElement, run: function }} `run` loads it again; what an older run gives then is dropped.
 */
export function part(title, load, signal, { level = 2, tall = false, id = null, beside = null } = {}) {
  const body = h(tall ? "div.part-body.roomy" : "div.part-body");
  const element = h("section.part", { id }, h("div.part-head", {}, h(`h${level}`, {}, title), beside), body);
  let stop = null;
  const run = async () => {
    stop?.abort();
    const mine = (stop = new AbortController());
    const end = () => mine.abort();
    if (signal.aborted) return;
    signal.addEventListener("abort", end);
    if (!body.firstChild) fill(body, h("p.waiting", {}, "Loading …"));
    element.setAttribute("aria-busy", "true");
    try {
      const made = await load(mine.signal);
      if (!mine.signal.aborted) fill(body, made);
    } catch (error) {
      if (error.name === "AbortError" || mine.signal.aborted) return;
      fill(body, problemOf(error, run));
      if (!(error instanceof ApiError)) console.error(error);
    } finally {
      if (stop === mine) element.removeAttribute("aria-busy");
    }
  };
  run();
  return { element, run, body };
}
