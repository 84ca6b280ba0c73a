// Help: what the page can do by keyboard, and the HTTP API.

import { get, getSession } from "./api.js";
import { copyable } from "./dialogs.js";
import { fill, h } from "./dom.js";
import { gridTable } from "./gridtable.js";

const CONDITIONS = [
  ["ngroups >= 20 and detector == 'MIRIMAGE'", "any keyword of any header; text in quotes"],
  ["name like 'jw01033*'", "parts of a name"], ["'using cal v1' in tags", "versions with a tag"],
  ["DATE-OBS between '2026-01-01' and '2026-02-01'", "times"], ["kind == 'RateInts' and p.data.max() > 100", "max, min, mean, std of a dataset"],
  ["rate > 1.0 and dq is null", "pixels of a RateInts or Rate (tab Pixels)"], ["has(groupdq, 'SATURATED')", "pixels of a Ramp"],
];

const KEYS = [
  ["Tab, arrows", "move through rows and controls"], ["Enter on a row", "open its version page"], ["Space on a row", "select it"],
  ["Shift F10 or the menu key", "open the menu of the row, as a right click does"], ["Escape", "close a menu, a dialog or completions"],
  ["+ − 0 1 in an image", "zoom in, zoom out, fit, one detector pixel to one point"], ["[ ] in an image", "group before, group after"],
  ["{ } in an image", "integration before, integration after"], ["b in a comparison", "blink"],
];

/** Show what stands between backticks as code. */
function marked(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

export async function show(root, state, { signal }) {
  document.title = "Help - miripool";
  const [session, api] = await Promise.all([getSession(), get("api/openapi.json", {}, signal)]);
  const rows = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, told]) => ({ path, method, told })));
  fill(root, h("h1", {}, "Help"), h("p", {}, `miripool ${session.version}. Every state of the page is its address: copy it to come back, or to show somebody on this machine.`),
    h("h2", {}, "Conditions"), h("dl.facts", {}, CONDITIONS.map(([text, means]) => [h("dt", {}, h("code", {}, text)), h("dd", {}, means)])),
    h("p", {}, "Columns x and rows y of pixels count from 1 in the FULL array; indices of arrays count from 0. Raw, Ramp, RateInts and Rate are the levels of an exposure: raw ramps, corrected ramps, slopes of each integration, slopes of the exposure."),
    h("h2", {}, "Keys"), h("dl.facts", {}, KEYS.map(([key, does]) => [h("dt", {}, key), h("dd", {}, does)])),
    h("h2", {}, "HTTP API"), h("p", {}, "Programs use the same addresses as this page, with the token that miripool printed: as the parameter token, or in the header Authorization: Bearer TOKEN. ", h("a", { href: "api/openapi.json" }, "api/openapi.json"), " describes all parameters."),
    copyable(`fits.open(f"{address}files/${state.pool ?? "jpl8"}/3.fits?token={token}", use_fsspec=True)`, "Python"),
    gridTable("Addresses of the API", [["method"], ["address"], ["gives"]], rows.map(({ path, method, told }) =>
      [h("code", {}, method.toUpperCase()), h("code", {}, path.slice(1)), marked((told.description ?? "").split("\n")[0])])));
}
