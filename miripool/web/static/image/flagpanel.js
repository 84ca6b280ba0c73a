// The list of DQ flags of the frame: how many pixels have each, and which are laid over the image.

import { fill, h } from "../dom.js";

/** The panel: { element, sync }; onChange takes the names of the flags to lay over, onOpen is called when they are needed. */
export function flagPanel({ onChange, onOpen, open }) {
  const body = h("div.iv-flags");
  const element = h("details.iv-section", { open, on: { toggle: () => onOpen(element.open) } }, h("summary", {}, "DQ flags"), body);
  let chosen = [];
  const toggle = (name, on) => onChange(on ? [...chosen, name] : chosen.filter((other) => other !== name));
  const line = ({ name, colour, count }) => {
    const swatch = h("span.iv-swatch", { "aria-hidden": "true" });
    swatch.style.background = colour;
    const box = h("input", { type: "checkbox", "data-flag": name, on: { change: () => toggle(name, box.checked) } });
    box.checked = chosen.includes(name);
    return h("li", {}, h("label", {}, box, swatch, h("span.iv-flag", {}, name),
      h("span.iv-count", {}, count === null ? "…" : `${count.toLocaleString("en")} px`)));
  };
  /** Show the flags that occur or are chosen. `counts` is null until they are there; `from` names their datasets. */
  const sync = (list, counts, names, from, problem = "") => {
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.flag : null;
    chosen = names;
    const all = list.map((flag) => ({ ...flag, count: counts ? counts[flag.bit] : null }));
    const shown = all.filter(({ name, count }) => count || names.includes(name));
    fill(body, sentence(from, counts, shown, problem), h("ul", {}, shown.map(line)));
    if (focused) body.querySelector(`input[data-flag="${CSS.escape(focused)}"]`)?.focus();
  };
  return { element, sync };
}

function sentence(from, counts, shown, problem) {
  if (problem) return h("p.problem", { role: "alert" }, problem);
  if (!from.length) return h("p.faint", {}, "No DQ belongs to this dataset.");
  if (!counts) return h("p.faint", {}, `Loading ${from.join(" and ")} …`);
  if (!shown.length) return h("p.faint", {}, `No pixel of this frame has a flag in ${from.join(" or ")}.`);
  return h("p.faint", {}, `From ${from.join(" and ")}. Choose flags to colour their pixels.`);
}
