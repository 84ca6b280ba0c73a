// Questions about one pixel. `asked` holds pool, x, y (1-based, FULL array), detector, kind, tag, where, all_versions.

import { get, poolPath } from "../api.js";
import { h } from "../dom.js";
import { serialOf, shell } from "../words.js";

const RATES = ["RateInts", "Rate"];
/** Versions with ramps that are offered, the newest exposures first. */
const MOST = 300;

/** Give what a question about a pixel makes; or, where nothing failed but the pixel lies outside of what there is, a sentence. */
export async function unlessOutside(made) {
  try {
    return await made;
  } catch (error) {
    if (error.kind !== "invalid-input" || !/\bcovers? pixel\b/.test(error.message)) throw error;
    const said = error.message.trim().replace(/^none of the 1 version covers/, "the only version does not cover");
    return h("p.empty", {}, `${said[0].toUpperCase()}${said.slice(1).replace(/\.?$/, ".")}`);
  }
}

/** Give the kind of rates that is asked for. */
export function rateKind(asked) {
  return RATES.includes(asked.kind) ? asked.kind : "RateInts";
}

/** Give the pixel's rates: a row for each integration, by time. */
export function askHistory(asked, signal) {
  const { pool, x, y, detector, tag, where, all_versions } = asked;
  return get(
    poolPath(pool, "pixel"),
    { x, y, detector, kind: rateKind(asked), tag, where, all_versions, dq_names: true },
    signal,
  );
}

/** Give the pixel's value in every dataset of a version. */
export function askValues({ pool, x, y }, serial, signal) {
  return get(poolPath(pool, "products", serial, "pixel"), { x, y }, signal);
}

/** Give the versions of ramps that cover the pixel, the newest exposure first. */
export async function askRamps(asked, signal) {
  const kinds = asked.kind === "Raw" ? ["Raw"] : ["Ramp", "Raw"];
  for (const kind of kinds) {
    const found = await rampsOfKind(asked, kind, signal);
    if (found.length) return found;
  }
  return [];
}

async function rampsOfKind(asked, kind, signal) {
  const { pool, x, y, tag, where, all_versions } = asked;
  const columns = "start_time,detector,SUBSTRT1,SUBSTRT2,SUBSIZE1,SUBSIZE2";
  const ask = (condition) =>
    get(
      poolPath(pool, "products"),
      { kind, tag, where: condition, all_versions, columns, order: "-start_time", limit: MOST },
      signal,
    );
  const covering = ({ rows }) => rows.filter((row) => covers(row, asked)).map((row) => ({ ...row, serial: serialOf(row.urn) }));
  const first = await ask(where);
  const found = covering(first);
  if (found.length || first.rows.length < MOST) return found;
  const inside = `SUBSTRT1 <= ${x} and SUBSTRT2 <= ${y} and SUBSTRT1 + SUBSIZE1 > ${x} and SUBSTRT2 + SUBSIZE2 > ${y}`;
  return covering(await ask(where ? `(${where}) and ${inside}` : inside));
}

function covers({ SUBSTRT1: x0, SUBSTRT2: y0, SUBSIZE1: nx, SUBSIZE2: ny, detector }, asked) {
  if (asked.detector && detector && asked.detector.toUpperCase() !== detector.toUpperCase()) return false;
  return x0 <= asked.x && asked.x < x0 + nx && y0 <= asked.y && asked.y < y0 + ny;
}

/** Give the serial number of the ramp that a version of rates was made from, or null. */
export async function askSource(pool, serial, signal) {
  const roots = await get(poolPath(pool, "products", serial, "lineage"), {}, signal);
  const path = roots.map(pathToAsked).find((one) => one !== null) ?? [];
  const source = path.findLast(({ kind }) => kind === "Ramp") ?? path.findLast(({ kind }) => kind === "Raw");
  return source ? serialOf(source.urn) : null;
}

/** Give the versions from the root of a tree of descent down to the one that was asked for, or null. */
function pathToAsked(node) {
  if (node.asked) return [node];
  for (const child of node.into ?? []) {
    const path = pathToAsked(child);
    if (path) return [node, ...path];
  }
  return null;
}

/** Give the rates of the integrations of the RateInts that was made from a ramp: { text, rates (DN/s), errors }, or null. */
export async function askSlopes(asked, serial, signal) {
  const uses = await get(poolPath(asked.pool, "products", serial, "uses"), {}, signal);
  const made = uses.filter(({ kind, how }) => kind === "RateInts" && how === "made from");
  if (!made.length) return null;
  const newest = made.reduce((a, b) => (serialOf(b.urn) > serialOf(a.urn) ? b : a));
  const { values } = await askValues(asked, serialOf(newest.urn), signal);
  if (!Array.isArray(values.SCI)) return null;
  return { text: `RateInts ${newest.name} version ${newest.version}`, rates: values.SCI, errors: values.ERR ?? [] };
}

/** Give the state of the page that shows the exposure of a row, with the pixel marked. */
export function imageState(pool, { urn, integration }, x, y) {
  return { pool, view: "image", serial: serialOf(urn), pixel: `${x},${y}`, integration };
}

/** Give the pool's monitors: [{ name, … }]. */
export function askMonitors({ pool, x, y, detector }, signal) {
  return get(poolPath(pool, "monitors"), { x, y, detector }, signal);
}

/** Give the pixel's life in a monitor. */
export function askLife({ pool, x, y, detector }, monitor, signal) {
  return get(poolPath(pool, "life"), { x, y, detector, monitor }, signal);
}

/** Write a text as Python does. */
function quoted(text) {
  return JSON.stringify(text);
}

/** Give what answers the same: { python, command }, each some lines. */
export function sameElsewhere(asked, monitor = null) {
  const { pool, x, y, detector, kind, tag, where, all_versions } = asked;
  const of = `PoolManager.getPool(${quoted(pool)}).pixel(${x}, ${y}${detector ? `, detector=${quoted(detector)}` : ""})`;
  const options = [kind, where && quoted(where), tag && `tag=${quoted(tag)}`, all_versions && "all_versions=True"].filter(
    Boolean,
  );
  const python = [`${of}.${RATES.includes(kind) ? "history" : "ramps"}(${options.join(", ")})`];
  const start = ["miripool", "pixel", shell(pool), x, y, ...(detector ? ["--detector", shell(detector)] : [])];
  const words = [
    ...start,
    "--kind",
    kind,
    ...(where ? ["--where", shell(where)] : []),
    ...(tag ? ["--tag", shell(tag)] : []),
    ...(all_versions ? ["--all-versions"] : []),
  ];
  const command = [words.join(" ")];
  if (monitor) {
    python.push(`${of}.life(${quoted(monitor)})`);
    command.push([...start, "--life", "--monitor", shell(monitor)].join(" "));
  }
  return { python: python.join("\n"), command: command.join("\n") };
}
