// One pixel: its history, ramps and life on a page of its own (view "pixel"). The panel beside an image is pixelbeside.js.

import { get, poolPath } from "../api.js";
import { fill, h, stateLink } from "../dom.js";
import { addPlotSheet, part, problemOf } from "../parts.js";
import { imageState, rateKind, sameElsewhere, unlessOutside } from "./pixelask.js";
import { loadFound } from "./pixelfind.js";
import { loadHistory } from "./pixelhistory.js";
import { loadLife } from "./pixellife.js";
import { loadRamps } from "./pixelramps.js";
import { sendButton } from "../samp/sending.js";

const KINDS = ["RateInts", "Rate", "Ramp", "Raw"];
const DETECTORS = ["MIRIMAGE", "MIRIFULONG", "MIRIFUSHORT"];
const NO_PLACE = "There is no such pixel: the column x and the row y are whole numbers from 1 on.";
const EXAMPLE = "rate > 1.0 and dq is null";

let shown = null;

/** Show the page of a pixel, or the form that asks for one. */
export async function show(root, state, context) {
  await addPlotSheet();
  if (context.signal.aborted) return;
  shown = { state, go: context.go, typed: false };
  const asked = askedBy(state);
  const chosen = Number.isInteger(asked.x) && Number.isInteger(asked.y);
  document.title = `${chosen ? `Pixel ${asked.x}, ${asked.y}` : "Pixels"} · ${state.pool} · miripool`;
  const form = pixelForm(state, context);
  root.addEventListener("input", ({ target }) => { if (target.form) shown.typed = true; }, { signal: context.signal });
  fill(
    root,
    h("h1", {}, chosen ? `Pixel x ${asked.x}, y ${asked.y} of ${state.pool}` : `Pixels of ${state.pool}`),
    form,
    findForm(state, () => choicesOf(form), context),
    state.condition
      ? part("Pixels found", (signal) => loadFound(withKind(state), context.go, signal), context.signal, {
          beside: sendButton(state.pool, foundParcel(withKind(state)), context.session),
        }).element
      : null,
    chosen ? partsOf(asked, state, context) : null,
    !chosen && (state.x || state.y) ? problemOf({ message: NO_PLACE }) : null,
    chosen || state.x || state.y
      ? null
      : h("p.empty", {}, "Give the column x and the row y of a pixel of the FULL array, or find pixels by a condition."),
  );
}

/** All parts end with the page's signal. */
export function leave() {
  shown = null;
}

/** Show the pixel that another program points at, unless that would take away what is typed into the forms. */
export function receive(event) {
  if (event.what !== "pixel" || shown.typed) return event;
  const { x, y, detector, version } = event, { state, go } = shown;
  const isHere = Number(state.x) === x && Number(state.y) === y;
  if (!isHere) go({ ...state, x, y, detector: detector || state.detector, serial: "" });
  return isHere && version ? event : null;
}

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

/** Give the pixels that were found, as what other programs can get. */
function foundParcel({ pool, kind, condition, where, tag, detector, all_versions }) {
  const asked = { kind, condition, where: where ?? "", tag: tag ?? "", detector: detector ?? "", all_versions: all_versions === "true" };
  return { text: "the pixels found", takes: "tables", path: "pixels", body: asked, name: "Send to TOPCAT" };
}

/** Give the history of a pixel, as what other programs can get. */
function historyParcel(asked) {
  const { x, y, detector, tag, where, all_versions } = asked;
  const body = { x, y, detector, kind: rateKind(asked), tag, where, all_versions };
  return { text: `the history of pixel x ${x}, y ${y}`, takes: "tables", path: "pixel", body, name: "Send to TOPCAT" };
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
    go({ ...state, ...choicesOf(form), serial: "" });
  });
  return form;
}

/** Give what the form of the pixel holds, as parts of the state. */
function choicesOf(form) {
  const given = Object.fromEntries(new FormData(form));
  return { ...given, all_versions: given.all_versions ?? "", kind: given.kind === "RateInts" ? "" : given.kind };
}

/** The form that finds pixels; it asks with `choices()`, what the form above it holds, be there a pixel in it or not. */
function findForm(state, choices, { go }) {
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
    go({ ...state, ...choices(), condition: input.value.trim() });
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

function partsOf(asked, state, { go, note, session, signal }) {
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
      unlessOutside(
        loadHistory(
          asked,
          { onOpen: open, against: now.against, onAgainst: (against) => keep({ against: against === "order" ? against : "" }) },
          stop,
        ),
      ),
    signal,
    { tall: true, beside: sendButton(asked.pool, historyParcel(asked), session) },
  );
  const ramps = part(
    "Ramps",
    (stop) =>
      unlessOutside(loadRamps(asked, { serial: now.serial, onVersion: (serial) => keep({ serial }), onOpen: openGroup }, stop)),
    signal,
    { tall: true },
  );
  const life = part(
    "Life",
    (stop) =>
      unlessOutside(
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
