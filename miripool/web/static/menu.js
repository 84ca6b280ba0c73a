// Menus on versions: what a right click on rows of the table, or the button of a version's page, offers.

import { change, get, getSession, poolPath } from "./api.js";
import { askFor, openDialog, showText } from "./dialogs.js";
import { fill, h, notify } from "./dom.js";
import { parcelsOf, sendItems } from "./samp/sending.js";
import { counted, forPage, serialOf, shell } from "./words.js";

let shown = null;

/** Close the menu that is open, if any. */
export function closeMenu() {
  shown?.remove();
  shown = null;
}

addEventListener("pointerdown", (event) => { if (shown && !shown.contains(event.target)) closeMenu(); }, true);
addEventListener("popstate", closeMenu);

/** Open a menu at a place of the page. @param {Array} items - {label, act, disabled} or null for a line. */
export function openMenu(x, y, items, back = document.activeElement) {
  closeMenu();
  const choose = (act) => () => { closeMenu(); back?.focus?.(); act(); };
  const entries = items.map((item) => item === null ? h("hr") :
    h("button", { type: "button", role: "menuitem", disabled: item.disabled, on: { click: choose(item.act) } }, item.label));
  shown = h("div.menu", { role: "menu", on: { keydown: (event) => moveIn(event, back) } }, entries);
  document.body.append(shown);
  const room = shown.getBoundingClientRect();
  shown.style.left = `${Math.max(4, Math.min(x, innerWidth - room.width - 8)) + scrollX}px`;
  shown.style.top = `${Math.max(4, Math.min(y, innerHeight - room.height - 8)) + scrollY}px`;
  shown.querySelector("button:not(:disabled)")?.focus();
}

function moveIn(event, back) {
  const buttons = [...shown.querySelectorAll("button:not(:disabled)")];
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    buttons[(to + buttons.length) % buttons.length].focus();
  } else if (event.key === "Escape" || event.key === "Tab") {
    event.preventDefault();
    closeMenu();
    back?.focus?.();
  }
}

/**
 * Give what can be done with some versions.
 * @param {string} pool
 * @param {Array} rows - of a list of versions: urn, kind, name, version, tags.
 * @param {object} context - go, session, changed() (shows the list again).
 */
export function actionsOn(pool, rows, { go, session, changed, trash = false }) {
  const one = rows.length === 1 ? rows[0] : null;
  const serials = rows.map((row) => serialOf(row.urn));
  const on = { pool, rows, serials, changed };
  const readOnly = !session.write;
  const noImage = !one || one.kind === "Exposure" || one.kind === "Context";
  if (trash) {
    return [
      { label: "Restore", act: () => restore(on), disabled: readOnly },
      { label: "Show metadata", act: () => go({ pool, view: "version", serial: serials[0] }), disabled: !one },
    ];
  }
  return [
    { label: "Open image", act: () => go({ pool, view: "image", serial: serials[0] }), disabled: noImage },
    { label: "Open version page", act: () => go({ pool, view: "version", serial: serials[0] }), disabled: !one },
    { label: "Show metadata", act: () => showMetadata(pool, one), disabled: !one },
    { label: rows.length === 2 ? "Compare these two" : "Compare with …", act: () => compare(on, go), disabled: rows.length > 2 },
    null,
    { label: "Tag …", act: () => tag(on), disabled: readOnly },
    { label: "Untag …", act: () => untag(on), disabled: readOnly || !rows.some((row) => row.tags.length) },
    { label: "Save selection as context …", act: () => freeze(on), disabled: readOnly },
    null,
    { label: rows.length > 1 ? "Save as FITS files" : "Save as FITS file", act: () => saveFits(pool, serials) },
    { label: "Save to another pool …", act: () => copyTo(on), disabled: readOnly || session.pools.length < 2 },
    { label: "Copy URN", act: () => showText("URN", rows.map((row) => row.urn).join("\n")) },
    { label: "Reprocess command", act: () => showReprocess(pool, rows) },
    ...withLine(sendItems(pool, parcelsOf(rows), session)),
    null,
    { label: "Remove (into the trash)", act: () => remove(on), disabled: readOnly },
  ];
}

/** Put a line before entries, if there are any. */
function withLine(items) {
  return items.length ? [null, ...items] : [];
}

/** Say what was done, and offer to undo it. */
function report(pool, text, undo, changed) {
  const revert = async () => {
    try {
      for (const step of undo) await change(poolPath(pool, step.path), step.body);
      notify("Undone.", { seconds: 4 });
    } catch (error) {
      notify(`Not undone: ${forPage(error.message)}`, { error: true, seconds: 0 });
    }
    changed();
  };
  notify(text, undo.length ? { action: revert, label: "Undo", seconds: 30 } : {});
  changed();
}

async function labels(pool) {
  return (await get(poolPath(pool, "tags"))).map((tag) => tag.label);
}

async function tag({ pool, rows, serials, changed }) {
  const choices = await labels(pool);
  askFor(`Tag ${counted(rows.length, "version")}`, [{ name: "label", label: "Tag", choices, help: "Choose a tag, or write a new one." }],
    "Tag", async ({ label }) => {
      const done = await change(poolPath(pool, "tag"), { label, serials });
      const moved = done.moves.length ? `; in ${counted(done.moves.length, "product")} it moved from another version` : "";
      report(pool, `“${label}” newly marks ${counted(done.changed, "version")}${moved}.`, done.undo, changed);
    });
}

function untag({ pool, rows, serials, changed }) {
  const choices = [...new Set(rows.flatMap((row) => row.tags))].sort();
  askFor(`Remove a tag from ${counted(rows.length, "version")}`, [{ name: "label", label: "Tag", choices, only: true }],
    "Untag", async ({ label }) => {
      const done = await change(poolPath(pool, "untag"), { label, serials });
      report(pool, `“${label}” was removed from ${counted(done.changed, "version")}.`, done.undo, changed);
    });
}

function remove({ pool, rows, serials, changed }) {
  const list = h("div", { role: "status" });
  const ask = (cascade, dry_run) => change(poolPath(pool, "remove"), { serials, cascade, dry_run });
  const preview = async (cascade) => {
    try {
      const { rows: gone } = await ask(cascade, true);
      fill(list, h("p", {}, `${counted(gone.length, "version")} will go into the trash:`), namesOf(gone),
        gone.some(({ kind }) => kind === "Exposure") ? h("p.faint", {}, EXPOSURE) : null);
    } catch (error) {
      fill(list, namesOf(rows), h("p.problem", {}, forPage(error.message)));
    }
  };
  askFor("Remove?",
    [{ name: "cascade", label: "Also remove contexts that refer to them", type: "checkbox", changed: preview }],
    "Remove", async ({ cascade }) => {
      const done = await ask(cascade, false);
      report(pool, `${counted(done.changed, "version")} put into the trash.`, done.undo, changed);
    }, list);
  preview(false);
}

const EXPOSURE = "An Exposure is a record that holds the levels of an observation together. It goes with the versions it is made of; these stay when it alone is removed.";
const MOST_NAMES = 10;

function namesOf(rows) {
  const more = rows.length - MOST_NAMES;
  return h("ul", {}, rows.slice(0, MOST_NAMES).map((row) => h("li", {}, `${row.kind}/${row.name} version ${row.version}`)),
    more > 0 ? h("li.faint", {}, `and ${more.toLocaleString("en")} more`) : null);
}

async function restore({ pool, serials, changed }) {
  try {
    const done = await change(poolPath(pool, "restore"), { serials });
    report(pool, `${counted(done.changed, "version")} restored.`, done.undo, changed);
  } catch (error) {
    notify(error.message, { error: true, seconds: 0 });
  }
}

function freeze({ pool, rows, serials, changed }) {
  askFor(`Save ${counted(rows.length, "version")} as a context`,
    [{ name: "name", label: "Name of the context" }, { name: "tag", label: "Tag (optional)" }],
    "Save", async ({ name, tag: label }) => {
      const done = await change(poolPath(pool, "context"), { name, serials, tag: label || null });
      report(pool, done.changed ? `Saved as ${done.saved.urn}.` : `There already: ${done.saved.urn}.`, done.undo, changed);
    });
}

async function copyTo({ pool, rows, serials, changed }) {
  const { pools } = await getSession();
  askFor(`Save ${counted(rows.length, "version")} to another pool`,
    [{ name: "to", label: "Pool", choices: pools.filter((name) => name !== pool), only: true },
      { name: "tag", label: "Tag there (optional)" },
      { name: "with_tags", label: "Also copy the tags", type: "checkbox" }],
    "Save", async ({ to, tag: label, with_tags }) => {
      const done = await change(poolPath(pool, "copy"), { serials, to, tag: label || null, with_tags });
      report(pool, `${counted(done.changed, "version")} saved to pool ${to}.`, [], changed);
    });
}

/** Save the files of versions, one after the other: browsers refuse several downloads at once. */
export function saveFits(pool, serials) {
  serials.forEach((serial, i) => setTimeout(() => {
    const link = h("a", { href: `files/${encodeURIComponent(pool)}/${serial}.fits`, download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }, 400 * i));
}

function showReprocess(pool, rows) {
  const names = [...new Set(rows.map((row) => `Raw/${row.name}`))];
  const command = ["miripool", "reprocess", pool, ...names].map(shell).join(" ");
  showText("Reprocess", command, "Run this command in a shell. `miripool reprocess --help` shows how to choose a CRDS context, reference files and steps.");
}

async function compare({ pool, rows, serials }, go) {
  if (rows.length === 2) { go({ pool, view: "compare", serial: serials[0], with: serials[1] }); return; }
  const versions = (await get(poolPath(pool, "products", serials[0], "versions"))).filter((other) => other.urn !== rows[0].urn && !other.removed);
  const { close } = openDialog(`Compare ${rows[0].kind}/${rows[0].name}@${rows[0].version} with`,
    versions.length ? h("ul", {}, versions.map((other) => h("li", {},
      h("button", { type: "button", on: { click: () => { close(); go({ pool, view: "compare", serial: serials[0], with: serialOf(other.urn) }); } } },
        `version ${other.version}`), " ", other.tags.map((label) => h("span.chip", {}, label))))) :
      h("p", {}, "This product has no other version. To compare two products, select two rows of the table."));
}

/** Show all keywords of a version, searchable. */
export async function showMetadata(pool, row) {
  const record = await get(poolPath(pool, "products", serialOf(row.urn)));
  openDialog(`${row.kind}/${row.name}@${row.version}`, keywordTable(record.keywords));
}

const MOST_SHOWN = 1000;

/** A table of keywords with a box that searches names, values and descriptions. */
export function keywordTable(keywords) {
  const body = h("tbody");
  const count = h("span.faint", { role: "status" });
  const draw = (text) => {
    const wanted = text.toLowerCase();
    const found = keywords.filter((one) => [one.hdu, one.keyword, one.value, one.description].some((part) => String(part ?? "").toLowerCase().includes(wanted)));
    body.replaceChildren(...found.slice(0, MOST_SHOWN).map((one) => h("tr", {}, h("td.mono", {}, one.hdu), h("td.mono", {}, one.keyword),
      h("td.value", {}, String(one.value ?? ""), one.unit ? h("span.faint", {}, ` ${one.unit}`) : null), h("td", {}, one.description ?? ""))));
    const more = found.length > MOST_SHOWN ? `; the first ${MOST_SHOWN} are shown` : "";
    count.textContent = `${found.length.toLocaleString("en")} of ${keywords.length.toLocaleString("en")}${more}`;
  };
  const box = h("input", { type: "search", "aria-label": "Search keywords", placeholder: "name, value or description", on: { input: () => draw(box.value) } });
  draw("");
  return h("div.keywords", {}, h("div.row", {}, box, count),
    h("div.scroll.tall", { tabindex: "0", role: "region", "aria-label": "Keywords" }, h("table.grid", {}, h("thead", {}, h("tr", {}, ["HDU", "keyword", "value", "description"].map((name) => h("th", { scope: "col" }, name)))), body)));
}
