// One pixel: its history, ramps and life on a page of its own (view "pixel"), and in a panel beside an image.

import { get, poolPath } from "../api.js";
import { num, numberText } from "../charts/chartvalues.js";
import { fill, h, stateLink } from "../dom.js";
import { addPlotSheet, part, problemOf } from "../parts.js";
import { askValues, sameElsewhere } from "./pixelask.js";
import { loadFound } from "./pixelfind.js";
import { imageState, loadHistory } from "./pixelhistory.js";
import { loadLife } from "./pixellife.js";
import { loadRamps, loadRampsOf } from "./pixelramps.js";
import { flagNames } from "./rampfit.js";

const KINDS = ["RateInts", "Rate", "Ramp", "Raw"];
const DETECTORS = ["MIRIMAGE", "MIRIFULONG", "MIRIFUSHORT"];
const NO_PLACE = "There is no such pixel: the column x and the row y are whole numbers from 1 on.";
const EXAMPLE = "rate > 1.0 and dq is null";

/** Show the page of a pixel, or the form that asks for one. */
export async function show(root, state, context) {
  await addPlotSheet();
  if (context.signal.aborted) return;
  const asked = askedBy(state);
  const chosen = Number.isInteger(asked.x) && Number.isInteger(asked.y);
  document.title = `${chosen ? `Pixel ${asked.x}, ${asked.y}` : "Pixels"} · ${state.pool} · miripool`;
  fill(
    root,
    h("h1", {}, chosen ? `Pixel x ${asked.x}, y ${asked.y} of ${state.pool}` : `Pixels of ${state.pool}`),
    pixelForm(state, context),
    findForm(state, context),
    state.condition
      ? part("Pixels found", (signal) => loadFound(withKind(state), context.go, signal), context.signal).element
      : null,
    chosen ? partsOf(asked, state, context) : null,
    !chosen && (state.x || state.y) ? problemOf({ message: NO_PLACE }) : null,
    chosen || state.x || state.y
      ? null
      : h("p.empty", {}, "Give the column x and the row y of a pixel of the FULL array, or find pixels by a condition."),
  );
}

/** Nothing outlives the page: all parts end with its signal. */
export function leave() {}

function askedBy(state) {
  const whole = (text) => (/^\d+$/.test(text ?? "") ? Number(text) : NaN);
  const { pool, detector = "", tag = "", where = "" } = state;
  return {
    pool,
    x: whole(state.x),
    y: whole(state.y),
    detector,
    kind: withKind(state).kind,
    tag,
    where,
    all_versions: state.all_versions === "true",
  };
}

function withKind(state) {
  return { ...state, kind: KINDS.includes(state.kind) ? state.kind : "RateInts" };
}

// ---- forms --------------------------------------------------------------------------------------------------------

function pixelForm(state, { go, signal }) {
  const number = (name, most, text) =>
    field(text, h("input", { type: "number", name, min: 1, max: most, required: true, value: state[name] ?? "" }));
  const tags = choice("tag", [["", "any"]], state.tag);
  fillTags(tags, state, signal);
  const detectors = [["", "any"], ...[...new Set([...DETECTORS, state.detector].filter(Boolean))].map((name) => [name, name])];
  const where = {
    type: "text",
    name: "where",
    value: state.where ?? "",
    placeholder: "readpatt == 'FASTR1'",
    autocomplete: "off",
    spellcheck: "false",
  };
  const form = h(
    "form.px-form",
    { "aria-label": "Pixel" },
    number("x", 1032, "x (column)"),
    number("y", 1024, "y (row)"),
    field("Detector", choice("detector", detectors, state.detector)),
    field(
      "Kind",
      choice(
        "kind",
        KINDS.map((kind) => [kind, kind]),
        withKind(state).kind,
      ),
    ),
    field("Tag", tags),
    h(
      "label.check",
      {},
      h("input", { type: "checkbox", name: "all_versions", value: "true", checked: state.all_versions === "true" }),
      "All versions",
    ),
    field("Condition on versions", h("input", where), "wide"),
    h("button.primary", {}, "Show the pixel"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    go({
      ...state,
      ...given,
      all_versions: given.all_versions ?? "",
      kind: given.kind === "RateInts" ? "" : given.kind,
      serial: "",
    });
  });
  return form;
}

function findForm(state, { go }) {
  const input = h("input", {
    type: "text",
    name: "condition",
    required: true,
    value: state.condition ?? "",
    placeholder: EXAMPLE,
    autocomplete: "off",
    spellcheck: "false",
  });
  const form = h(
    "form.px-form",
    { "aria-label": "Find pixels" },
    field("Find pixels by a condition", input, "wide"),
    h("button", {}, "Find pixels"),
    state.condition ? stateLink("Close the list", { ...state, condition: "" }, go, { class: "check" }) : null,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go({ ...state, condition: input.value.trim() });
  });
  return form;
}

function field(text, control, ...classes) {
  return h(["label", "px-field", ...classes].join("."), {}, text, control);
}

function choice(name, options, chosen) {
  return h(
    "select",
    { name },
    options.map(([value, text]) => h("option", { value, selected: value === (chosen ?? "") }, text)),
  );
}

/** Fill the list of tags when it comes; until then it holds the chosen one. */
async function fillTags(select, { pool, tag }, signal) {
  const add = (name) => select.append(h("option", { value: name, selected: name === tag }, name));
  if (tag) add(tag);
  try {
    for (const { label } of await get(poolPath(pool, "tags"), {}, signal)) if (label !== tag) add(label);
  } catch (error) {
    if (error.name !== "AbortError") select.title = error.message;
  }
}

// ---- the page's parts ---------------------------------------------------------------------------------------------

function partsOf(asked, state, { go, note, signal }) {
  const now = { ...state };
  const keep = (changes) => {
    Object.assign(now, changes);
    note(now);
  };
  const open = (record) => go(imageState(asked.pool, record, asked.x, asked.y));
  const openGroup = (record) => go({ ...imageState(asked.pool, record, asked.x, asked.y), group: record.group });
  const same = h("section.whole.px-same");
  const tell = (monitor) => fill(same, ...sameSection(sameElsewhere(asked, monitor)));
  tell(state.monitor);
  const history = part(
    "History",
    (stop) =>
      loadHistory(
        asked,
        { onOpen: open, against: now.against, onAgainst: (against) => keep({ against: against === "order" ? against : "" }) },
        stop,
      ),
    signal,
    { tall: true },
  );
  const ramps = part(
    "Ramps",
    (stop) => loadRamps(asked, { serial: now.serial, onVersion: (serial) => keep({ serial }), onOpen: openGroup }, stop),
    signal,
    { tall: true },
  );
  const life = part(
    "Life",
    (stop) =>
      loadLife(
        asked,
        {
          monitor: now.monitor,
          onMonitor: (monitor) => {
            keep({ monitor });
            life.run();
          },
          onOpen: open,
          onFound: tell,
        },
        stop,
      ),
    signal,
  );
  life.element.classList.add("whole");
  return h("div.px-grid", {}, history.element, ramps.element, life.element, same);
}

function sameSection({ python, command }) {
  return [
    h("h2", {}, "The same elsewhere"),
    h("h3", {}, "Python"),
    h("pre", { tabindex: "0" }, python),
    h("h3", {}, "Command line"),
    h("pre", { tabindex: "0" }, command),
  ];
}

// ---- the panel beside an image --------------------------------------------------------------------------------------

/** Answers for a short while: stepping through integrations asks for the same pixel again and again. */
const kept = new Map();
const KEEP = 20_000;

async function keptValues(asked, serial, signal) {
  const key = JSON.stringify([asked.pool, serial, asked.x, asked.y]);
  const found = kept.get(key);
  if (found && performance.now() - found.at < KEEP) return found.answer;
  const answer = await askValues(asked, serial, signal);
  if (kept.size > 50) kept.clear();
  kept.set(key, { answer, at: performance.now() });
  return answer;
}

/**
 * Show a pixel in a narrow panel: values in this version, ramps, history and life.
 * @param {object} given - pool, serial, x, y (1-based, FULL array), detector, dataset, integration (from 1), go, session, signal.
 */
export async function mountPixel(panel, { pool, serial, x, y, detector, dataset, integration, go, signal }) {
  await addPlotSheet();
  if (signal.aborted) return;
  const asked = { pool, x, y, detector: detector ?? "", kind: "RateInts", tag: "", where: "", all_versions: false };
  const open = (record) => go(imageState(pool, record, x, y));
  const openGroup = (record) => go({ ...imageState(pool, record, x, y), group: record.group });
  const values = keptValues(asked, serial, signal);
  values.catch(() => {}); // each part that needs them says what is wrong
  const small = { level: 3 };
  fill(
    panel,
    h(
      "div.px-panel",
      {},
      h("p.part-note", {}, stateLink("Whole page", { pool, view: "pixel", x, y, detector, serial }, go)),
      part("Values in this version", async () => valuesTable(await values, dataset, integration), signal, small).element,
      part(
        "Ramps",
        async (stop) => loadRampsOf(asked, await values, { compact: true, integration, onOpen: openGroup }, stop),
        signal,
        small,
      ).element,
      part("History", (stop) => loadHistory(asked, { compact: true, onOpen: open }, stop), signal, small).element,
      part("Life", (stop) => loadLife(asked, { compact: true, onOpen: open }, stop), signal, small).element,
    ),
  );
}

function valuesTable({ values, flags = {} }, dataset, integration) {
  const rows = Object.entries(values).map(([name, value]) =>
    h(
      "tr",
      { "aria-selected": name === dataset ? "true" : null },
      h("th", { scope: "row" }, name),
      h("td", {}, valueText(value, /DQ$/.test(name) ? flags : null, integration)),
    ),
  );
  if (!rows.length) return h("p.empty", {}, "No dataset covers this pixel.");
  return h(
    "table.grid.px-values",
    {},
    h("caption.visually-hidden", {}, "Values of the pixel in each dataset"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "dataset"), h("th", { scope: "col" }, "value"))),
    h("tbody", {}, rows),
  );
}

/** Write a value, or the values of integrations and groups in short. */
function valueText(value, flags, integration) {
  if (!Array.isArray(value)) return flags ? flagNames(value, flags).join(", ") || "no flag" : numberText(num(value), 7);
  if (Array.isArray(value[0])) {
    const at = value[(integration ?? 1) - 1] ?? value[0],
      size = `${value.length} × ${value[0].length}`;
    if (Array.isArray(at[0])) return `${size} × … values`;
    return `${size} values; integration ${value[(integration ?? 1) - 1] ? (integration ?? 1) : 1}: ${valueText(at, flags)}`;
  }
  if (flags) return [...new Set(value.flatMap((one) => flagNames(one, flags)))].join(", ") || "no flag";
  if (value.length <= 6) return value.map((one) => numberText(num(one), 6)).join(", ");
  const numbers = value.map(num).filter(Number.isFinite);
  return numbers.length ? `${numberText(Math.min(...numbers), 6)} … ${numberText(Math.max(...numbers), 6)}` : "NaN";
}
