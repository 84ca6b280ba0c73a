// The page of one version: metadata, datasets, track, lineage, uses, files.

import { get, poolPath } from "../api.js";
import { copyable } from "../dialogs.js";
import { fill, h, stateLink } from "../dom.js";
import { gridTable } from "../gridtable.js";
import { drawLineage } from "./lineage.js";
import { actionsOn, keywordTable, openMenu } from "../menu.js";
import { bytes, counted, serialOf, short, time, writer } from "../words.js";

export async function show(root, state, context) {
  const { pool } = state;
  const serial = Number(state.serial);
  const path = (...parts) => poolPath(pool, "products", serial, ...parts);
  const [record, view] = await Promise.all([get(path(), {}, context.signal), get(path("view"), {}, context.signal)]);
  const page = { pool, serial, record, view, path, ...context };
  document.title = `${record.kind}/${record.name}@${record.version} - miripool`;
  fill(root, heading(page, () => show(root, state, context)), facts(page),
    record.references ? section("Refers to", references(page)) : null,
    record.datasets.length || !record.references ? section("Datasets", datasets(page)) : null,
    later("Versions of this product", (box) => track(page, box)),
    later("Lineage: made from what, made into what", (box) => lineage(page, box)),
    later("Uses", (box) => uses(page, box)),
    record.history.length ? section("How it was made", record.history.map(step)) : null,
    section(`Metadata: ${counted(record.keywords.length, "keyword")}`, keywordTable(record.keywords)),
    section("The same in Python and on the command line", copyable(`PoolManager.getPool(${JSON.stringify(pool)}).ref(${JSON.stringify(record.urn)}).product`, "Python"), copyable(`miripool show ${pool} ${record.urn}`, "command")));
}

function section(title, ...content) {
  return h("section", {}, h("h2", {}, title), ...content);
}

/** One step of a history: a sentence, and all that was recorded. */
function step(made) {
  const tool = [made.tool ?? "made", made.version].filter(Boolean).join(" ");
  const inputs = Array.isArray(made.inputs) && made.inputs.length ? ` from ${made.inputs.join(", ")}` : "";
  return h("details", {}, h("summary", {}, tool + inputs), h("pre", { tabindex: "0" }, JSON.stringify(made, null, 2)));
}

/** A section that loads by itself; an error stands in its place. */
function later(title, load) {
  const box = h("div", { "aria-busy": "true" }, h("p.waiting", {}, "Loading …"));
  load(box).catch((error) => { if (error.name !== "AbortError") fill(box, h("div.problem", { role: "alert" }, h("pre", {}, error.message))); }).finally(() => box.removeAttribute("aria-busy"));
  return section(title, box);
}

function heading(page, again) {
  const { pool, serial, record, view, go } = page;
  const act = (event) => {
    const box = event.target.getBoundingClientRect();
    openMenu(box.left, box.bottom, actionsOn(pool, [record], { go, session: page.session, changed: again }));
  };
  const neighbour = (label, other) => other === null ? null : stateLink(label, { pool, view: "version", serial: other }, go, { class: "button" });
  const hasImage = view.datasets.some((dataset) => dataset.image);
  return h("header", {},
    h("h1", {}, `${record.kind}/${record.name}`, h("span.faint", {}, ` version ${record.version}`)),
    h("div.row", {},
      hasImage ? stateLink("Open image", { pool, view: "image", serial }, go, { class: "button" }) : null,
      h("button", { type: "button", "aria-haspopup": "menu", on: { click: act } }, "Actions"),
      neighbour("← exposure before", view.previous), neighbour("exposure after →", view.next),
      view.head ? null : h("span.chip", {}, "not the newest version"),
      record.tags.map((label) => stateLink(label, { pool, tag: label }, go, { class: "chip" }))));
}

function facts({ pool, serial, record, view }) {
  const file = `files/${encodeURIComponent(pool)}/${serial}.fits`;
  const pairs = [
    ["URN", h("code", {}, record.urn)],
    ["saved", `${time(record.created)} UTC${record.saved_by ? ` by ${writer(record.saved_by)}` : ""}`],
    ["exposed", view.start_time ? `${time(view.start_time)} UTC` : null],
    ["detector", view.place ? `${view.detector}, columns ${view.place.x} to ${view.place.x + view.place.columns - 1}, rows ${view.place.y} to ${view.place.y + view.place.rows - 1}` : view.detector],
    ["file", h("span", {}, h("a", { href: file, download: "" }, record.filename ?? `${record.name}.fits`), ` ${bytes(record.bytes)}; saving it added ${bytes(record.stored_bytes)} to the pool`)],
  ];
  return h("dl.facts", {}, pairs.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function datasets(page) {
  const { pool, serial, record, view, go } = page;
  if (!record.datasets.length) return h("p.faint", {}, "This version has no datasets.");
  const images = new Set(view.datasets.filter((one) => one.image).map((one) => one.name));
  const flags = new Set(view.datasets.filter((one) => one.flags).map((one) => one.name));
  const names = ["dataset", "dtype", "shape", "unit", "min", "max", "mean", "std", "NaN", "flagged", "file", "blob"];
  const rows = record.datasets.map((one) => {
    const values = ["min", "max", "mean", "std", "nan", "flagged"].map((key) => h("td.number", {}, isMeant(one, key, flags) ? short(one[key], 6) : ""));
    const name = images.has(one.dataset) ? stateLink(one.dataset, { pool, view: "image", serial, dataset: one.dataset }, go) : one.dataset;
    const link = h("a", { href: `files/${encodeURIComponent(pool)}/${serial}/${encodeURIComponent(one.dataset)}.fits`, download: "", "aria-label": `FITS file of ${one.dataset}` }, "FITS");
    return h("tr", {}, h("td", {}, name), h("td.mono", {}, one.dtype), h("td.mono", {}, `(${one.shape.join(", ")})`), h("td", {}, one.unit ?? ""), values, h("td", {}, link), h("td.mono.blob", { title: one.blob }, one.blob ?? ""));
  });
  return [gridTable("Datasets", names.map((name, i) => [name, i > 3 && i < 10]), rows),
    images.size ? histogram(page, [...images]) : null];
}

/** Tell whether a statistic says something: sums of flag bits have no mean, and tables none at all. */
function isMeant(dataset, key, flags) {
  if (dataset[key] === null || (dataset[key] === "NaN" && dataset.dtype === "table")) return false;
  return !flags.has(dataset.dataset) || key === "flagged";
}

/** A histogram of the last frame of a chosen dataset. */
function histogram({ view, path }, names) {
  const canvas = h("canvas.histogram", { width: 520, height: 120, role: "img", "aria-label": "histogram" });
  const note = h("span.faint", { role: "status" });
  const draw = async (name) => {
    const { shape } = view.datasets.find((one) => one.name === name);
    const index = shape.slice(0, -2).map((length, i, all) => (all.length === 2 && i === 1 ? length - 1 : 0));
    try {
      const found = await get(path("histogram"), { dataset: name, index: index.join(",") });
      drawBars(canvas, found.counts);
      const range = found.edges.length ? `from ${short(found.edges[0], 5)} to ${short(found.edges.at(-1), 5)}` : "no finite values";
      note.textContent = `${name}[${index.concat(["…"]).join(", ")}]: ${range}; ${counted(found.nan, "NaN").replace("NaNs", "NaN")}; heights are logarithmic, the outer bars hold what lies beyond (0.5 % at each end)`;
      canvas.setAttribute("aria-label", `histogram of ${note.textContent}`);
    } catch (error) {
      note.textContent = error.message;
    }
  };
  const select = h("select", { id: "histogram-of", on: { change: () => draw(select.value) } }, names.map((name) => h("option", { value: name }, name)));
  draw(names[0]);
  return h("div.histogram", {}, h("div.row", {}, h("label", { for: "histogram-of" }, "Histogram of"), select), canvas, h("p", {}, note));
}

function drawBars(canvas, counts) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  const most = Math.log1p(Math.max(1, ...counts));
  const width = canvas.width / Math.max(1, counts.length);
  counts.forEach((count, i) => {
    const height = (Math.log1p(count) / most) * (canvas.height - 4);
    pen.fillRect(i * width, canvas.height - height, Math.max(1, width - 0.5), height);
  });
}

function references({ pool, record, go }) {
  const to = (one, view) => ({ pool, view, serial: serialOf(one.urn) });
  return h("ul", {}, record.references.map((one) => h("li", {}, h("span.faint", {}, `${one.reference}: `),
    stateLink(`${one.kind}/${one.name} version ${one.version}`, to(one, "version"), go), " ", stateLink("image", to(one, "image"), go))));
}

async function track({ pool, serial, path, go, signal }, box) {
  const found = await get(path("track"), {}, signal);
  const compare = (older) => stateLink("compare", { pool, view: "compare", serial, with: older }, go);
  const lines = found.versions.map((one) => {
    const words = found.words[one.version] ?? [];
    const here = one.serial === serial;
    const state = one.purged ? "removed for good" : one.removed ? `in the trash since ${time(one.removed)}` : "";
    return h("li", {},
      h("p", {}, here ? h("strong", {}, `version ${one.version} (this one)`) : stateLink(`version ${one.version}`, { pool, view: "version", serial: one.serial }, go), ` saved ${time(one.created)} UTC${one.saved_by ? ` by ${writer(one.saved_by)}` : ""} `,
        one.tags.map((label) => h("span.chip", {}, label)), state ? h("span.chip", {}, state) : null, here || one.removed ? null : compare(one.serial)),
      h("ul.changes", {}, words.slice(0, 30).map((word) => h("li", {}, word)), words.length > 30 ? h("li.faint", {}, `and ${words.length - 30} more changes`) : null));
  });
  const moves = [...found.tags.map((one) => ({ ...one, text: one.version === null ? `“${one.tag}” was taken off version ${one.previous}` : `“${one.tag}” marks version ${one.version}${one.previous === null ? "" : `, before ${one.previous}`}` })), ...found.trash.map((one) => ({ ...one, text: `version ${one.version} ${one.what}` }))].sort((a, b) => (a.time < b.time ? -1 : 1));
  fill(box, h("ol.track", { reversed: true }, lines.reverse()),
    moves.length ? h("details", {}, h("summary", {}, `${counted(moves.length, "move")} of tags and trash`), h("ul", {}, moves.map((one) => h("li", {}, `${time(one.time)} UTC ${one.text}${one.by ? `, by ${writer(one.by)}` : ", by unknown"}`)))) : null,
    found.notices.map((text) => h("p.faint", {}, text)));
}

async function lineage({ pool, path, go, signal }, box) {
  const roots = await get(path("lineage"), {}, signal);
  fill(box, h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Lineage" }, drawLineage(roots, pool, go)), roots.map(origin));
}

/** Say of the first version of a tree why nothing stands before it. */
function origin({ kind, name, version, source }) {
  if (!source || source.how === "recorded") return null;
  return h("p.faint", {}, `${kind}/${name} version ${version}: what it was made from is ${source.how}; ${source.why}.`);
}

async function uses({ pool, path, go, signal }, box) {
  const found = await get(path("uses"), {}, signal);
  fill(box, found.length ? h("ul", {}, found.slice(0, 200).map((one) => h("li", {}, stateLink(`${one.kind}/${one.name}@${one.version}`, { pool, view: "version", serial: serialOf(one.urn) }, go), h("span.faint", {}, ` ${one.how}`)))) : h("p.faint", {}, "No version was made from it or refers to it."),
    found.length > 200 ? h("p.faint", {}, `and ${found.length - 200} more: miripool uses`) : null);
}
