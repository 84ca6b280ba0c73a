// Parts of the image view that stand around the image: its head with links, the compass, the ways to the data, the keys.

import { copyButton } from "../dialogs.js";
import { fill, h, stateLink, toQuery } from "../dom.js";
import { flagText, frameText, imagesOf, pythonFor, tagText, versionText } from "./imagestate.js";

const KEYS = [
  ["+ −", "zoom in and out"], ["0", "fit the frame to the window"], ["1", "one screen pixel per pixel"],
  ["arrows", "move the view"], ["[ ]", "previous and next group"], ["{ }", "previous and next integration"],
  ["Enter", "mark the pixel in the middle"], ["Shift + arrows", "move the mark"], ["Esc", "remove the mark"], ["b", "blink"],
];

/** The state of another version with all settings of this one. */
function withSerial(state, serial) {
  const minus = state.minus?.startsWith("serial:") ? "" : state.minus;
  return { ...state, serial, minus };
}

/** Links whose addresses follow the state, which changes in place: `make` makes one, `sync` writes all addresses again. */
function followingLinks(state, go) {
  const links = [];
  const make = (text, to) => {
    const follow = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      go(to());
    };
    const link = h("a", { href: `?${toQuery(to())}`, on: { click: follow } }, text);
    links.push([link, to]);
    return link;
  };
  const sync = () => { for (const [link, to] of links) link.href = `?${toQuery(to())}`; };
  return { make, sync };
}

function versionSelect(about, label, onChoose) {
  const pairs = about.versions.length ? about.versions : [about];
  const select = h("select", { on: { change: () => onChoose(Number(select.value)) } },
    pairs.map((version) => h("option", { value: version.serial }, `version ${version.version}${tagText(version)}`)));
  select.value = about.serial;
  return h("label.iv-field", {}, h("span", {}, label), select);
}

/** The choice of what to compare with; the last choice asks for a serial number. */
function compareSelect(state, about, go) {
  const compare = (serial) => go({ ...state, view: "compare", with: serial, minus: "" });
  const typed = h("input", { type: "number", min: 0, step: 1, "aria-label": "Serial number of the version to compare with" });
  const submit = (event) => {
    event.preventDefault();
    if (typed.value) compare(typed.value);
  };
  const form = h("form.iv-serial", { hidden: true, on: { submit } },
    typed, h("button", { type: "submit" }, "Compare"));
  const others = about.versions.filter(({ serial }) => serial !== about.serial);
  const select = h("select", { on: { change: () => {
    form.hidden = select.value !== "type";
    if (select.value === "type") typed.focus();
    else if (select.value) compare(select.value);
  } } },
  h("option", { value: "" }, "choose …"),
  others.map((version) => h("option", { value: version.serial }, `version ${version.version}${tagText(version)}`)),
  Number.isInteger(about.previous) ? h("option", { value: about.previous }, "the previous exposure") : null,
  Number.isInteger(about.next) ? h("option", { value: about.next }, "the next exposure") : null,
  h("option", { value: "type" }, "another, by its serial number …"));
  return [h("label.iv-field", {}, h("span", {}, "Compare with"), select), form];
}

/** A button that opens the menu of programs to send to, below it. */
export function sendButton(open) {
  const act = (event) => {
    const box = event.target.getBoundingClientRect();
    open(box.left, box.bottom);
  };
  return h("button", { type: "button", "aria-haspopup": "menu", on: { click: act } }, "Send");
}

/** The head of one version's image: { element, sync() }; `state` changes in place, `go` takes a state to go to. */
export function imageHead(state, about, go, send) {
  const links = followingLinks(state, go);
  const move = (text, serial, absent) => (Number.isInteger(serial) // serial numbers start at 0
    ? links.make(text, () => withSerial(state, serial)) : h("span.faint", { title: absent }, text));
  const element = h("header.iv-head", {},
    h("h1", {}, `${about.kind} ${about.name}`),
    h("div.iv-links", {},
      versionSelect(about, "Version", (serial) => go(withSerial(state, serial))),
      about.head === false ? h("span.iv-old", {}, "not the newest") : null,
      stateLink("About this version", { view: "version", pool: state.pool, serial: about.serial }, go),
      move("‹ Previous exposure", about.previous, `There is no ${about.kind} before this one.`),
      move("Next exposure ›", about.next, `There is no ${about.kind} after this one.`),
      compareSelect(state, about, go), send));
  return { element, sync: links.sync };
}

/** The head of a comparison: both versions, each with a choice of others of its product; { element, sync() }. */
export function compareHead(state, abouts, go, send) {
  const names = abouts.map((about) => `${about.kind} ${about.name}`), same = names[0] === names[1];
  const keys = ["serial", "with"], labels = ["First", "Second"];
  const one = (about, i) => h("div.iv-links", {},
    versionSelect(about, same ? labels[i] : `${labels[i]}: ${about.name}`, (serial) => go({ ...state, [keys[i]]: serial })),
    stateLink(`About the ${labels[i].toLowerCase()}`, { view: "version", pool: state.pool, serial: about.serial }, go));
  const links = followingLinks(state, go);
  const exchanged = () => ({ ...state, serial: state.with, with: state.serial });
  const alone = () => ({ ...state, view: "image", with: "", mode: "", rate: "", difference_colours: "" });
  const element = h("header.iv-head.iv-both", {}, h("h1", {}, same ? names[0] : names.join(" and ")),
    h("div.iv-links", {}, links.make("Exchange first and second", exchanged), links.make("Show the first alone", alone), send),
    h("div.iv-links", {}, abouts.map(one)));
  return { element, sync: links.sync };
}

/** What stands in place of the image of a product that has none. */
export function withoutImage(state, about, go) {
  const there = about.datasets.map(({ name }) => name);
  const why = there.length ? `Its datasets have no frames of pixels: ${there.join(", ")}.` : "It has no datasets.";
  return h("section", {}, h("h1", {}, versionText(about)), h("p.empty", {}, `This product has no image. ${why}`),
    h("p", {}, stateLink("About this version", { view: "version", pool: state.pool, serial: about.serial }, go)));
}

/** Arrows of the detector's axes. They are those of the science frame of JWST: x to the right, y up. */
export function compass() {
  const svg = (tag, options, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(options)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const said = "Science frame of the detector, as JWST defines it: x grows to the right, y grows up";
  const arrows = svg("path", { d: "M10 12 V46 H44 M10 12 l-4 7 M10 12 l4 7 M44 46 l-7 -4 M44 46 l-7 4", class: "iv-arrows" });
  return svg("svg", { class: "iv-compass", viewBox: "0 0 58 56", role: "img", "aria-label": said }, svg("title", {}, said), arrows,
    svg("text", { x: 7, y: 8, class: "iv-letter" }, "y"), svg("text", { x: 48, y: 50, class: "iv-letter" }, "x"));
}

/** The ways to the data of a frame: Python and FITS; { element, sync(settings) }. */
export function dataSection(abouts, pool) {
  const code = h("pre.iv-code", { tabindex: "0", "aria-label": "Python that gives this frame" });
  const links = h("p.iv-files");
  const element = h("details.iv-section", { open: true }, h("summary", {}, "This frame elsewhere"),
    h("div.iv-codehead", {}, h("span.faint", {}, "Python"), copyButton(code)), code, links);
  const sync = (settings) => {
    code.textContent = pythonFor(settings, abouts, pool);
    const holders = abouts.filter((about) => imagesOf(about).some(({ name }) => name === settings.dataset.name));
    fill(links, holders.map((about) => {
      const href = ["files", pool, about.serial, `${settings.dataset.name}.fits`].map(encodeURIComponent).join("/");
      const which = abouts.length > 1 ? ` of ${about.name} version ${about.version}` : "";
      return h("span", {}, h("a", { href, download: true }, `Download the FITS extension ${settings.dataset.name}${which}`));
    }));
  };
  return { element, sync };
}

/** The keys that work while the image has the focus. */
export function keysSection() {
  return h("details.iv-section", {}, h("summary", {}, "Keys"), h("p.faint", {}, "They work while the image has the focus."),
    h("dl.facts", {}, KEYS.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])));
}

/** Name a version of two by what tells it from the other. */
export function apart(about, abouts) {
  const differs = (key) => abouts.some((other) => other[key] !== about[key]);
  return [differs("kind") ? about.kind : "", differs("name") ? about.name : "", `version ${about.version}`].filter(Boolean).join(" ");
}

/** Say how many pixels of a frame of flags have the flag that it shows, or have it in one of two versions only. */
function flagCount(settings, values) {
  const named = flagText(settings), text = `${named[0].toUpperCase()}${named.slice(1)}`;
  const count = (wanted) => values.reduce((sum, v) => sum + (v === wanted), 0).toLocaleString("en");
  if (settings.mode === "difference") return `${text}: ${count(1)} px only in the first, ${count(-1)} px only in the second`;
  return `${text}: set in ${count(1)} of ${values.length.toLocaleString("en")} px`;
}

/** Say what a pane shows where it is not plain: which of two versions, or their difference; and which flag. */
export function captionOf(settings, abouts, which, values, about) {
  const flags = settings.dataset.flags ? flagCount(settings, values) : "";
  return [versionCaption(settings, abouts, which, flags ? {} : about), flags].filter(Boolean).join(". ");
}

/** `about` has the least and the greatest value of the frame, where they say something. */
function versionCaption({ mode }, abouts, which, { min, max }) {
  if (abouts.length < 2) return "";
  if (mode !== "difference") return `${which ? "Second" : "First"}: ${apart(abouts[which], abouts)}${tagText(abouts[which])}`;
  const said = abouts.map((about) => apart(about, abouts)).join(" minus ");
  return min === 0 && max === 0 ? `${said}: all values are equal` : said;
}

/** Say what an image shows, for the canvas's label and the page's title. */
export function labelOf(settings, abouts) {
  const versions = abouts.map(versionText).join(" and ");
  return `Image of ${frameText(settings, abouts)}, of ${versions}`;
}
