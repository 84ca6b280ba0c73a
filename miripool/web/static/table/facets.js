// Facets: how often values occur among the versions that match; a click narrows the question.

import { get, poolPath } from "../api.js";
import { fill, h } from "../dom.js";
import { both, equals } from "./question.js";

const TITLES = { kind: "kind", crds_ctx: "CRDS context", CRDS_CTX: "CRDS context", TARGNAME: "target", PROGRAM: "program", tags: "tag", exp_type: "exposure type" };

/** Typed columns come in one scan of the index; each keyword and the tags take one of their own, so they come later. */
const ASKED = ["kind,detector,subarray,filter,exp_type,readpatt,crds_ctx", "PROGRAM", "TARGNAME", "tags"];

/** Fill the panel. @param {object} options - pool, asked (parameters of the question), state, go, signal. */
export async function showFacets(panel, { pool, asked, state, go, signal }) {
  const note = h("p.faint", { hidden: true }, "Counts are those of the first 10,000 versions that match.");
  const places = ASKED.map(() => h("div"));
  fill(panel, note, places);
  const load = async (columns, place) => {
    const found = await get(poolPath(pool, "facets"), { ...asked, columns }, signal);
    if (found.some((facet) => !facet.exact)) note.hidden = false;
    fill(place, found.filter(differs).map((facet) => makeFacet(facet, state, go)));
  };
  try {
    await Promise.all(ASKED.map((columns, i) => load(columns, places[i])));
    if (!panel.querySelector("details")) fill(panel, h("p.faint", {}, "These versions differ in none of the common keywords."));
  } catch (error) {
    if (error.name !== "AbortError") fill(panel, h("p.faint", {}, error.message));
  }
}

function differs(facet) {
  return facet.values.length > 1 || (facet.values.length === 1 && facet.missing > 0);
}

function makeFacet(facet, state, go) {
  const narrow = (value) => {
    const next = { ...state, offset: null };
    if (facet.column === "kind") next.kind = value;
    else if (facet.column === "tags") next.tag = value;
    else next.where = both(state.where, equals(facet.column, value));
    go(next);
  };
  const line = (value, count) => h("li", {},
    h("button.facet", { type: "button", on: { click: () => narrow(value) } }, h("span", {}, value === null ? "(none)" : String(value)), h("span.faint", {}, count.toLocaleString("en"))));
  return h("details.facet", { open: true },
    h("summary", {}, TITLES[facet.column] ?? facet.column),
    h("ul", {}, facet.values.slice(0, 12).map(({ value, count }) => line(value, count)),
      facet.missing && facet.column !== "tags" ? line(null, facet.missing) : null),
    facet.more || facet.values.length > 12 ? h("p.faint", {}, `and ${(facet.more + Math.max(0, facet.values.length - 12)).toLocaleString("en")} more values`) : null);
}
