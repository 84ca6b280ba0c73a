// Lineage as a graph: a column for each step, a box for each version, a line for each "made into".

import { toQuery } from "../dom.js";
import { serialOf } from "../words.js";

const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 230, height: 54, across: 60, down: 14 };
const MOST_LETTERS = 30;

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Draw the trees of `lineage`; a version that several were made from is drawn once. */
export function drawLineage(roots, pool, go) {
  const { boxes, lines, columns } = place(roots);
  const width = columns * (BOX.width + BOX.across) - BOX.across + 4;
  const height = Math.max(...boxes.map((box) => box.y)) + BOX.height + 4;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "lineage", role: "group", "aria-label": `Lineage: ${boxes.length} versions` });
  for (const [from, to] of lines) drawing.append(svg("path", { d: curve(from, to), class: "edge" }));
  for (const box of boxes) drawing.append(drawBox(box, pool, go));
  return drawing;
}

function place(roots) {
  const boxes = new Map();
  const lines = [];
  const next = [];
  const visit = (node, column) => {
    const known = boxes.get(node.urn);
    if (known) return known;
    const first = next[column] ?? 2;
    const box = { node, x: 2 + column * (BOX.width + BOX.across), y: first };
    boxes.set(node.urn, box);
    next[column] = first + BOX.height + BOX.down;
    for (const below of node.into) lines.push([box, visit(below, column + 1)]);
    const children = lines.filter(([from]) => from === box).map(([, to]) => to);
    if (children.length) {
      // A box stands beside the first of what was made of it, unless its column is full there already.
      box.y = Math.max(first, Math.min(...children.map((child) => child.y)));
      next[column] = Math.max(next[column], box.y + BOX.height + BOX.down);
    }
    return box;
  };
  roots.forEach((root) => visit(root, 0));
  return { boxes: [...boxes.values()], lines, columns: next.length };
}

function curve(from, to) {
  const [x0, y0, x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2, to.x, to.y + BOX.height / 2];
  return `M${x0},${y0} C${x0 + 30},${y0} ${x1 - 30},${y1} ${x1},${y1}`;
}

function cut(text) {
  return text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text;
}

function drawBox({ node, x, y }, pool, go) {
  const state = { pool, view: "version", serial: serialOf(node.urn) };
  const tool = node.history[0]?.tool ? `made by ${node.history[0].tool}` : node.file ? `file ${node.file}` : "";
  const title = `${node.kind} ${node.name}, version ${node.version}`;
  const link = svg("a", { href: `?${toQuery(state)}`, "aria-label": title, class: node.asked ? "node asked" : "node" },
    svg("title", {}, `${title}${node.tags.length ? `\ntags: ${node.tags.join(", ")}` : ""}${tool ? `\n${tool}` : ""}`),
    svg("rect", { x, y, width: BOX.width, height: BOX.height, rx: 5 }),
    svg("text", { x: x + 8, y: y + 18, class: "kind" }, cut(`${node.kind} version ${node.version}${node.asked ? " (this one)" : ""}`)),
    svg("text", { x: x + 8, y: y + 33 }, cut(node.name)),
    svg("text", { x: x + 8, y: y + 47, class: "small" }, cut(node.tags.join(", ") || tool)));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(state);
  });
  return link;
}
