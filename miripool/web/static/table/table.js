// The table of versions: pages, sort, facets, versions below their head, a menu on rows.

import { address, get, poolPath } from "../api.js";
import { copyable, openDialog } from "../dialogs.js";
import { fill, h, stateLink } from "../dom.js";
import { gridTable } from "../gridtable.js";
import { chooseColumns } from "./columns.js";
import { showFacets } from "./facets.js";
import { actionsOn, openMenu } from "../menu.js";
import { makeQuestion } from "./question.js";
import { sendButton } from "../samp/sending.js";
import { makeThumbnails } from "./thumbnails.js";
import { cell, counted, forPage, serialOf, shell } from "../words.js";

const COLUMNS = {
  products: ["name", "kind", "version", "tags", "start_time", "obs_id", "PROGRAM", "TARGNAME", "exp_type", "filter", "subarray", "readpatt", "nints", "ngroups", "detector", "crds_ctx", "bytes", "created"],
  observations: ["name", "levels", "tags", "start_time", "obs_id", "PROGRAM", "TARGNAME", "exp_type", "filter", "subarray", "readpatt", "nints", "ngroups", "detector", "version"],
  trash: ["name", "kind", "version", "removed", "created", "start_time", "detector", "subarray", "bytes"],
};
const ORDER = { products: "-created", observations: "-start_time", trash: "-removed" };
const TITLES = { start_time: "date (UTC)", created: "saved (UTC)", removed: "removed (UTC)", bytes: "size", PROGRAM: "program", TARGNAME: "target", crds_ctx: "context", levels: "levels" };
const NUMBERS = new Set(["version", "bytes", "stored_bytes", "nints", "ngroups"]);
const OWN = new Set(["levels", "urn", "kind", "name", "version", "tags", "created", "bytes", "removed"]);
const MOST_EXPORTED = 100_000;
const LIMITS = [25, 50, 100, 250, 500];

let shown = null;

export async function show(root, state, context) {
  const tab = state.tab ?? "products";
  const view = shown = { root, state, context, tab, pool: state.pool, chosen: new Map(), lines: new Map(), ...readView(state, tab) };
  document.title = `${view.pool}: ${tab} - miripool`;
  view.question = makeQuestion({ pool: view.pool, where: state.where ?? "", ask: (where) => ask(view, where), explain: (where) => explain(view, where) });
  view.panel = h("aside.facets", { "aria-label": "Narrow the list" });
  view.list = h("div.list", { "aria-busy": "true" }, h("p.waiting", {}, "Loading …"));
  fill(root, h("h1.visually-hidden", {}, `${tab} of pool ${view.pool}`),
    tab === "trash" ? h("p", {}, "Versions in the trash keep their data until ", h("code", {}, "miripool gc --purge"), " or ", h("code", {}, "Pool.purge"), " removes them for good.") : view.question.element,
    h("div.browser", {}, tab === "trash" ? null : narrowing(view), view.list));
  await load(view);
}

export function leave() {
  shown = null;
}

/** Mark the row, or select the rows, that another program points at. */
export function receive(event) {
  if (event.what === "highlight") return point(event);
  return event.what === "select" ? selectAlone(event) : event;
}

/** Give the lines of the table by URN, without those of versions that are folded in again. */
function linesInSight() {
  return new Map([...shown.lines].filter(([, { element }]) => element.isConnected));
}

function point(event) {
  for (const { element } of shown.lines.values()) element.removeAttribute("aria-current");
  const found = linesInSight().get(event.version.urn);
  if (!found) return event;
  found.element.setAttribute("aria-current", "true");
  found.element.scrollIntoView({ block: "nearest" });
  return null;
}

function selectAlone(event) {
  const wanted = new Set(event.serials);
  let missing = wanted.size;
  for (const [urn, { select }] of linesInSight()) {
    const on = wanted.has(serialOf(urn));
    if (on) missing -= 1;
    select(on);
  }
  return missing ? { ...event, missing } : null;
}

/** Show the answer to a condition; where it can't be read, the table stays, and the box says why. */
async function ask(view, where) {
  const { pool, state, context, list } = view;
  list.setAttribute("aria-busy", "true");
  try {
    await get(poolPath(pool, "products"), { ...askedOf(view), where, limit: 0 }, context.signal);
  } catch (error) {
    list.removeAttribute("aria-busy");
    if (error.name !== "AbortError") view.question.showError(error);
    return;
  }
  context.go({ ...state, where, offset: null });
}

function readView(state, tab) {
  const columns = state.columns ? state.columns.split(",") : COLUMNS[tab] ?? COLUMNS.products;
  const limit = LIMITS.includes(Number(state.limit)) ? Number(state.limit) : 50;
  return { columns, limit, offset: Math.min(2 ** 53 - 1, Math.max(0, Math.floor(Number(state.offset)) || 0)), order: state.order ?? ORDER[tab] ?? "-created", pictures: state.pictures !== "0" && tab === "products" };
}

/** Give the parameters of the question, without paging. */
function askedOf({ state, tab }) {
  if (tab === "trash") return { trash: true, kind: state.kind };
  return { where: state.where, kind: tab === "products" ? state.kind : null, tag: state.tag, all_versions: state.all && tab === "products" ? "true" : null };
}

function narrowing(view) {
  const wide = innerWidth > 900;
  return h("details.narrow", { open: wide }, h("summary", {}, "Narrow the list"), view.panel);
}

async function load(view) {
  const { pool, context, tab } = view;
  const asked = askedOf(view);
  const keywords = view.columns.filter((column) => !OWN.has(column)).join(",");
  const path = poolPath(pool, tab === "observations" ? "observations" : "products");
  try {
    const found = await get(path, { ...asked, columns: keywords, order: view.order, limit: view.limit, offset: view.offset }, context.signal);
    draw(view, found);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    fill(view.list, chips(view));
    view.question.showError(error);
    return;
  } finally {
    view.list.removeAttribute("aria-busy");
  }
  const facets = { pool, asked: tab === "observations" ? { ...asked, kind: "Exposure" } : asked, kinds: tab === "products" };
  if (tab !== "trash") await showFacets(view.panel, { ...facets, state: () => ({ ...view.state, where: view.question.text() }), go: context.go, signal: context.signal });
}

function draw(view, found) {
  view.found = found;
  view.thumbnail = view.pictures ? makeThumbnails(view.pool, view.context.signal) : null;
  const empty = found.rows.length ? null : h("p.empty", {}, found.total ? `There is no row ${view.offset + 1}: the list has ${counted(found.total, "row")}.` : `Nothing found: ${forPage(found.reason ?? "")}`);
  const before = view.chosen;
  view.chosen = new Map();
  view.lines = new Map();
  fill(view.list, chips(view), toolbar(view), found.rows.length ? table(view, before) : empty, pager(view), sameAnswer(view));
}

function chips({ state, context }) {
  const shown = [["kind", state.kind && `kind ${state.kind}`], ["tag", state.tag && `tag “${state.tag}”`], ["all", state.all && "all versions"]].filter(([, text]) => text);
  return shown.length ? h("p.chips", {}, shown.map(([key, text]) => h("button.chip", { type: "button", "aria-label": `Leave out: ${text}`, on: { click: () => context.go({ ...state, [key]: null, offset: null }) } }, `${text} ×`))) : null;
}

function toolbar(view) {
  const { state, context, tab, found } = view;
  const total = found.exact ? counted(found.total, "row") : `more than ${found.total.toLocaleString("en")} rows`;
  const toggle = (key, label, on, off = null) => h("label", {}, h("input", { type: "checkbox", checked: on, on: { change: (event) => context.go({ ...state, [key]: event.target.checked ? (off === null ? "1" : null) : off, offset: null }) } }), ` ${label}`);
  view.actions = h("button", { type: "button", disabled: true, "aria-haspopup": "menu", on: { click: (event) => { const box = event.target.getBoundingClientRect(); menuOn(view, [...view.chosen.values()], box.left, box.bottom); } } }, "Actions");
  return h("div.row.toolbar", {}, h("strong", { role: "status" }, total), view.actions,
    tab === "products" ? toggle("all", "all versions", Boolean(state.all)) : null,
    tab === "products" ? toggle("pictures", "pictures", view.pictures, "0") : null,
    h("span.grow"),
    h("button", { type: "button", on: { click: () => askColumns(view) } }, "Columns"),
    exportLinks(view),
    tab === "trash" ? null : sendButton(view.pool, wholeList(view), context.session));
}

/** Give all rows of the question as a parcel for other programs. */
function wholeList(view) {
  return { text: "the table", takes: "tables", path: "list", body: { ...questionOf(view), order: view.order, columns: columnsOf(view) }, name: "Send to TOPCAT" };
}

/** Give the question as the API's POST takes it. */
function questionOf(view) {
  const { where, kind, tag, all_versions } = askedOf(view);
  return { where: where ?? "", kind: (view.tab === "observations" ? "Exposure" : kind) ?? "", tag: tag ?? "", all_versions: all_versions === "true" };
}

/** Give the columns of lists that are files: the table's, and the URN first. */
function columnsOf(view) {
  return ["urn", ...view.columns.filter((column) => column !== "levels" && column !== "urn")];
}

function exportLinks(view) {
  const parameters = { ...askedOf(view), columns: columnsOf(view).join(","), order: view.order, ...(view.tab === "observations" ? { kind: "Exposure" } : {}) };
  const link = (form, label) => h("a", { href: address(`${poolPath(view.pool)}/list.${form}`, parameters), download: "" }, label);
  const cut = view.found.total > MOST_EXPORTED || !view.found.exact ? "the first 100,000 rows as " : "";
  return h("span", {}, `Export ${cut}`, link("csv", "CSV"), " ", link("json", "JSON"), " ", link("vot", "VOTable"));
}

function table(view, before) {
  const head = h("tr", {}, h("th", { scope: "col" }, selectAll(view)), view.thumbnail ? h("th", { scope: "col" }, h("span.visually-hidden", {}, "picture")) : null, view.columns.map((column) => heading(view, column)));
  const body = h("tbody", {}, view.found.rows.map((row) => line(view, row, { chosen: before.has(row.urn) })));
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": "List of versions" }, h("table.grid.versions", {}, h("thead", {}, head), body));
}

function heading(view, column) {
  const { state, context, order } = view;
  const title = TITLES[column] ?? column;
  const options = { scope: "col", class: NUMBERS.has(column) ? "number" : null };
  if (column === "tags" || column === "levels") return h("th", options, title);
  const sorted = order === column ? "ascending" : order === `-${column}` ? "descending" : null;
  const next = sorted === "ascending" ? `-${column}` : column;
  const arrow = { ascending: " ▲", descending: " ▼" }[sorted] ?? "";
  return h("th", { ...options, "aria-sort": sorted }, h("button.sort", { type: "button", on: { click: () => context.go({ ...state, order: next, offset: null }) } }, title + arrow));
}

function selectAll(view) {
  return h("input", { type: "checkbox", "aria-label": "Select all rows of this page", on: { change: (event) => {
    for (const box of view.list.querySelectorAll("tbody input[type=checkbox]")) if (box.checked !== event.target.checked) box.click();
  } } });
}

function line(view, row, { below = false, chosen = false } = {}) {
  const serial = serialOf(row.urn);
  const box = h("input", { type: "checkbox", "aria-label": `Select ${row.kind} ${row.name} version ${row.version}`, on: { change: () => select(box.checked) } });
  const select = (on) => {
    box.checked = on;
    element.setAttribute("aria-selected", String(on));
    if (on) view.chosen.set(row.urn, row); else view.chosen.delete(row.urn);
    view.actions.disabled = !view.chosen.size;
    view.actions.textContent = view.chosen.size ? `Actions on ${view.chosen.size}` : "Actions";
  };
  const openAt = (x, y) => {
    // As in other programs, a click beside the selection is for the row alone.
    if (!view.chosen.has(row.urn)) { for (const other of view.list.querySelectorAll("tbody input:checked")) other.click(); select(true); }
    menuOn(view, [...view.chosen.values()], x, y);
  };
  const keys = (event) => {
    if (event.target !== element) return;
    if (event.key === "Enter") view.context.go({ pool: view.pool, view: "version", serial });
    else if (event.key === " ") { event.preventDefault(); select(!box.checked); } else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) { event.preventDefault(); const place = element.getBoundingClientRect(); openAt(place.left + 40, place.bottom); } else if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); (event.key === "ArrowDown" ? element.nextElementSibling : element.previousElementSibling)?.focus(); }
  };
  const element = h(below ? "tr.below" : "tr", { tabindex: "0", "aria-selected": "false", data: { urn: row.urn }, on: { contextmenu: (event) => { event.preventDefault(); openAt(event.clientX, event.clientY); }, keydown: keys } },
    h("td", {}, box), view.thumbnail ? h("td.picture", {}, row.kind === "Exposure" || row.kind === "Context" ? null : stateLink(view.thumbnail(serial), { pool: view.pool, view: "image", serial }, view.context.go, { "aria-label": `Image of ${row.name}` })) : null,
    view.columns.map((column) => h(NUMBERS.has(column) ? "td.number" : "td", { class: column === "name" ? "name" : NUMBERS.has(column) ? "number" : null }, content(view, row, column, () => unfold(view, row, element)))));
  view.lines.set(row.urn, { element, select });
  if (chosen) select(true);
  return element;
}

function content(view, row, column, unfoldRow) {
  const { context, pool, state } = view;
  const serial = serialOf(row.urn);
  if (column === "name") return stateLink(row.name, { pool, view: "version", serial }, context.go);
  if (column === "tags") return row.tags.map((label) => stateLink(label, { ...state, tag: label, offset: null }, context.go, { class: "chip", title: `Show the versions with the tag ${label}` }));
  if (column === "levels") return row.levels.map((level) => stateLink(level.level, { pool, view: "image", serial: serialOf(level.urn) }, context.go, { class: "chip", title: [`${level.urn}, version ${level.version}`, ...level.tags].join(", ") }));
  if (column === "version" && view.tab === "products" && row.version > 0 && !state.all) return h("button.fold", { type: "button", "aria-expanded": "false", "aria-label": `version ${row.version}; show earlier versions of ${row.name}`, on: { click: unfoldRow } }, `${row.version} ▸`);
  return cell(column, row[column]);
}

async function unfold(view, row, element) {
  const button = element.querySelector("button.fold");
  if (button.getAttribute("aria-expanded") === "true") {
    while (element.nextElementSibling?.classList.contains("below")) element.nextElementSibling.remove();
    button.setAttribute("aria-expanded", "false");
    button.textContent = `${row.version} ▸`;
    return;
  }
  const keywords = view.columns.filter((column) => !OWN.has(column)).join(",");
  const versions = await get(poolPath(view.pool, "products", serialOf(row.urn), "versions"), { columns: keywords });
  const older = versions.filter((one) => !one.removed && one.urn !== row.urn).reverse();
  element.after(...older.map((one) => line(view, one, { below: true })));
  button.setAttribute("aria-expanded", "true");
  button.textContent = `${row.version} ▾`;
}

function menuOn(view, rows, x, y) {
  const { pool, context } = view;
  const changed = () => { if (!context.signal.aborted) load(view); };
  openMenu(x, y, actionsOn(pool, rows, { go: context.go, session: context.session, trash: view.tab === "trash", changed }));
}

function pager(view) {
  const { state, context, found, offset, limit } = view;
  const last = Math.max(0, Math.floor((found.total - 1) / limit) * limit);
  const to = (place, label, allowed) => h("button", { type: "button", disabled: !allowed, on: { click: () => context.go({ ...state, offset: place || null }) } }, label);
  const row = h("input", { id: "row", type: "number", min: 1, max: Math.max(1, found.total), value: offset + 1 });
  const jump = (event) => { event.preventDefault(); context.go({ ...state, offset: Math.max(0, Number(row.value) - 1) || null }); };
  const full = found.rows.length === limit;
  const sizes = h("select", { "aria-label": "Rows on a page", on: { change: (event) => context.go({ ...state, limit: event.target.value, offset: null }) } }, LIMITS.map((size) => h("option", { value: size, selected: size === limit }, `${size} rows`)));
  return h("nav.row.pager", { "aria-label": "Pages" }, to(0, "First", offset > 0), to(Math.max(0, offset - limit), "Previous", offset > 0),
    h("form.row", { on: { submit: jump } }, h("label", { for: "row" }, "from row"), row, h("button", { type: "submit" }, "Go")),
    h("span.faint", {}, found.rows.length ? `${(offset + 1).toLocaleString("en")} to ${(offset + found.rows.length).toLocaleString("en")}` : ""),
    to(offset + limit, "Next", found.exact ? offset + limit < found.total : full), to(last, "Last", found.exact && offset < last), sizes);
}

function sameAnswer({ found, state }) {
  const python = state.columns ? `${found.python}.to_table(${JSON.stringify(state.columns.split(","))})` : found.python;
  const command = state.columns ? `${found.command} --columns ${shell(state.columns)}` : found.command;
  return h("details.same", {}, h("summary", {}, "The same in Python and on the command line"), copyable(python, "Python"), copyable(command, "command"));
}

function askColumns(view) {
  const { state, context, tab, pool } = view;
  const usual = COLUMNS[tab] ?? COLUMNS.products;
  const choose = async (columns) => {
    await get(poolPath(pool, "products"), { columns: columns.filter((column) => !OWN.has(column)).join(","), limit: 1 });
    context.go({ ...state, columns: columns.join(",") === usual.join(",") ? null : columns.join(",") });
  };
  chooseColumns({ pool, columns: view.columns, usual, choose });
}

async function explain(view, where) {
  try {
    const steps = await get(poolPath(view.pool, "explain"), { ...askedOf(view), where });
    const lines = steps.map((step) => [h("code", {}, step.condition), step.answered_by, step.left.toLocaleString("en")]);
    openDialog("How the question is answered", gridTable("Conditions", [["condition"], ["answered by"], ["left", true]], lines),
      steps.filter((step) => step.hint).map((step) => h("p", {}, step.hint)));
  } catch (error) {
    view.question.showError(error);
  }
}

