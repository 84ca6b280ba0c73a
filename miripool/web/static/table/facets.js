// Facets: how often values occur among the versions that match; a click narrows the question, a second one undoes that.

import { get, poolPath } from "../api.js";
import { fill, h } from "../dom.js";
import { both, equals } from "./question.js";

const TITLES = { crds_ctx: "CRDS context", TARGNAME: "target", PROGRAM: "program", tags: "tag", exp_type: "exposure type" };
const MOST_VALUES = 12;

/**
 * Questions for facets: typed columns come in one scan of the index, and each keyword takes one of its own. Kind and tag
 * are counted as if none of them were chosen, so that another one can be.
 */
const QUESTIONS = [
  { columns: "kind", without: "kind" },
  { columns: "detector,subarray,filter,exp_type,readpatt,crds_ctx" },
  { columns: "PROGRAM" },
  { columns: "TARGNAME" },
  { columns: "tags", without: "tag" },
];

/** Fill the panel. @param {object} options - pool, asked (parameters of the question), state() (with what stands in the box now), go, signal, kinds (show kinds). */
export async function showFacets(panel, { pool, asked, state, go, signal, kinds = true }) {
  const note = h("p.faint", { hidden: true }, "Counts are those of the first 10,000 versions that match.");
  const questions = QUESTIONS.filter(({ columns }) => kinds || columns !== "kind");
  const places = questions.map(() => h("div"));
  fill(panel, note, places);
  const load = async ({ columns, without }, place) => {
    const question = without ? { ...asked, [without]: null } : asked;
    const found = await get(poolPath(pool, "facets"), { ...question, columns }, signal);
    if (found.some((facet) => !facet.exact)) note.hidden = false;
    if (columns === "kind") found[0].values.push(...(await contexts(pool, question, signal)));
    fill(place, found.filter(({ values }) => values.length).map((facet) => makeFacet(facet, state, go)));
  };
  try {
    await Promise.all(questions.map((question, i) => load(question, places[i])));
    if (!panel.querySelector("details")) fill(panel, h("p.faint", {}, "There is nothing to narrow."));
  } catch (error) {
    if (error.name !== "AbortError") fill(panel, h("p.faint", {}, error.message));
  }
}

/** Count the contexts that people saved: lists of products leave them out unless they are asked for. */
async function contexts(pool, question, signal) {
  const { total } = await get(poolPath(pool, "products"), { ...question, kind: "Context", limit: 0 }, signal);
  return total ? [{ value: "Context", count: total }] : [];
}

function makeFacet(facet, state, go) {
  const { column, values, missing, more } = facet;
  const rest = more + Math.max(0, values.length - MOST_VALUES);
  return h("details.facet", { open: true },
    h("summary", {}, TITLES[column] ?? column),
    h("ul", {}, values.slice(0, MOST_VALUES).map(({ value, count }) => line(column, value, count, state, go)),
      missing && column !== "tags" ? line(column, null, missing, state, go) : null),
    rest ? h("p.faint", {}, `and ${rest.toLocaleString("en")} more values`) : null);
}

function line(column, value, count, state, go) {
  const own = { kind: "kind", tags: "tag" }[column];
  const chosen = own !== undefined && state()[own] === value;
  const narrow = () => {
    const next = { ...state(), offset: null };
    if (own) next[own] = chosen ? null : value;
    else next.where = both(next.where, equals(column, value));
    go(next);
  };
  return h("li", {}, h("button.facet", { type: "button", "aria-pressed": own ? String(chosen) : null, on: { click: narrow } },
    h("span", {}, value === null ? "(none)" : String(value)), h("span.faint", {}, count.toLocaleString("en"))));
}
