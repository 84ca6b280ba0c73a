// What other programs on this desktop point at, by SAMP: a row of a table that came from here, rows, or a pixel.
// An event is { client, pool, what, … }: "highlight" with one version, "select" with serials, "pixel" with x, y of the FULL
// array, detector, and where they are known the version and the integration, from 1.

import { ApiError, get } from "../api.js";
import { h, notify, stateLink } from "../dom.js";
import { imageState } from "../pixel/pixelask.js";
import { counted, serialOf } from "../words.js";

/** Milliseconds until a tab out of sight looks again: it must not hold one of the browser's six connections. */
const REST = 60_000;
/** Milliseconds until the server is asked again that did not answer; doubled each time, for it may be gone for good. */
const AFTER_A_FAULT = 5_000;
const MOST_DOUBLED = 10;
/** Characters of a condition at most. */
const LONGEST = 10_000;

let close = null;

/** Ask for events as long as the page is open, and hand each on; `last` is the number of the last one before. */
export async function listen(last, receive) {
  let faults = 0;
  for (;;) {
    const left = new AbortController(), leave = () => { if (document.hidden) left.abort(); };
    document.addEventListener("visibilitychange", leave);
    try {
      const found = await get("api/samp/events", { since: last, wait: !document.hidden }, left.signal);
      last = found.last;
      faults = 0;
      for (const event of found.events) receive(event);
    } catch (error) {
      if (error.name !== "AbortError") {
        if (!(error instanceof ApiError)) console.error(error);
        await pause(AFTER_A_FAULT * 2 ** Math.min(faults, MOST_DOUBLED));
        faults += 1;
      }
    } finally {
      document.removeEventListener("visibilitychange", leave);
    }
    if (document.hidden) await pause(REST);
  }
}

/** Wait; not longer than until the tab is seen again. */
function pause(time) {
  return new Promise((done) => {
    const end = () => { clearTimeout(timer); document.removeEventListener("visibilitychange", seen); done(); };
    const seen = () => { if (!document.hidden) end(); };
    const timer = setTimeout(end, time);
    document.addEventListener("visibilitychange", seen);
  });
}

/** Say what a program points at where the view does not show it, with links to it. */
export function tellOf(event, pool, go) {
  close?.();
  if (event.what === "highlight" && isPageOf(event)) return;
  const where = event.pool === pool ? "" : ` in pool ${event.pool}`;
  const links = linksOf(event).map(([text, state]) => [" ", stateLink(text, state, (to) => { close?.(); go(to); })]);
  close = notify([`${event.client} ${wordsOf(event)}${where}.`, links], { seconds: 60 });
}

function isPageOf({ pool, version }) {
  const here = new URLSearchParams(location.search);
  return ["version", "image"].includes(here.get("view")) && here.get("pool") === pool && here.get("serial") === String(serialOf(version.urn));
}

function wordsOf({ what, serials, missing, version, x, y, integration }) {
  if (what === "highlight") return `points at ${named(version)}`;
  if (what === "pixel") return `points at pixel x ${x}, y ${y}${version ? ` of ${named(version)}` : ""}${integration ? `, integration ${integration}` : ""}`;
  const selected = `selected ${counted(serials.length, "version")}`;
  if (missing === undefined) return selected;
  return missing === serials.length ? `${selected}, none of them in this list` : `${selected}, ${missing.toLocaleString("en")} of them not in this list`;
}

function named({ kind, name, version }) {
  return `${kind}/${name} version ${version}`;
}

function linksOf({ what, pool, version, serials, x, y, detector, integration }) {
  const image = version && version.kind !== "Exposure" && version.kind !== "Context";
  if (what === "select") {
    const where = `serial in (${serials.join(", ")})`;
    return where.length > LONGEST ? [] : [["Show them", { pool, where, all: "1" }]];
  }
  if (what === "pixel") return [["Show the pixel", { pool, view: "pixel", x, y, detector }], ...(image ? [["Open image", imageState(pool, { urn: version.urn, integration }, x, y)]] : [])];
  const serial = serialOf(version.urn);
  return [["Open version page", { pool, view: "version", serial }], ...(image ? [["Open image", { pool, view: "image", serial }]] : [])];
}
