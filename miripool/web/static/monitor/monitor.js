// Monitors of a pool (view "monitor"): their list, and the page of one: trends, map, episodes, events, populations.

import { get, poolPath } from "../api.js";
import { stateSwatch, swatch } from "../charts/chartmarks.js";
import { seconds, timeText } from "../charts/chartvalues.js";
import { fill, h, stateLink } from "../dom.js";
import { gridTable } from "../gridtable.js";
import { loadEpisodes, statesChoice } from "./monitorepisodes.js";
import { loadEffects } from "./monitorevents.js";
import { mapPart } from "./monitormap.js";
import { loadPopulation } from "./monitorpopulation.js";
import { loadTrends, QUANTITIES } from "./monitortrends.js";
import { addPlotSheet, part } from "../parts.js";
import { counted, serialOf, shell } from "../words.js";

/** Show the list of monitors, or the one that the state names. */
export async function show(root, state, context) {
  await addPlotSheet();
  const { pool, name } = state;
  document.title = `${name ? `Monitor ${name}` : "Monitors"} · ${pool} · miripool`;
  const [monitors, about] = await Promise.all([
    get(poolPath(pool, "monitors"), {}, context.signal),
    name ? get(poolPath(pool, "monitors", name), {}, context.signal) : null,
  ]);
  if (context.signal.aborted) return;
  if (!name)
    fill(root, h("h1", {}, `Monitors of ${pool}`), monitors.length ? listOf(monitors, pool, context.go) : noMonitors(pool));
  else
    showOne(
      root,
      { ...state },
      about,
      monitors.find((one) => one.name === name),
      context,
    );
}

/** Nothing outlives the page: all parts end with its signal. */
export function leave() {}

// ---- the list -----------------------------------------------------------------------------------------------------

function noMonitors(pool) {
  return h(
    "div.empty",
    {},
    h(
      "p",
      {},
      "This pool has no monitor. A monitor follows all pixels of a detector through many exposures. These commands make one:",
    ),
    h(
      "pre",
      { tabindex: "0" },
      `miripool monitor create ${shell(pool)} darks --where "exp_type == 'MIR_DARKIMG'"\nmiripool monitor update ${shell(pool)} darks`,
    ),
  );
}

function listOf(monitors, pool, go) {
  const columns = [
    ["name"],
    ["version", true],
    ["updated (UTC)"],
    ["exposures", true],
    ["pixels with a state", true],
    ["states"],
    ["kind"],
    ["condition"],
    ["tag"],
  ];
  return gridTable(
    "Monitors",
    columns,
    monitors.map((one) => rowOf(one, { pool, view: "monitor", name: one.name }, go)),
    { table: "mon-list" },
  );
}

function rowOf(one, to, go) {
  const open = (event) => {
    if (!event.target.closest("a")) go(to);
  };
  return h(
    "tr.clickable",
    { on: { click: open } },
    h("td.breakable", {}, stateLink(one.name, to, go)),
    h("td.number", {}, one.version),
    h("td.nowrap", {}, timeText(Math.floor(seconds(one.updated)))),
    h("td.number", {}, one.exposures.toLocaleString("en")),
    h("td.number", {}, one.pixels.toLocaleString("en")),
    h("td.states", {}, stateChips(one.states)),
    h("td", {}, one.kind),
    h("td.breakable", {}, one.where ? h("code", {}, one.where) : ""),
    h("td.breakable", {}, one.tag ?? ""),
  );
}

function stateChips(states) {
  const entries = Object.entries(states);
  if (!entries.length) return h("span.faint", {}, "none");
  return entries.map(([state, count]) =>
    h("span.state-chip", {}, swatch(stateSwatch(state)), `${state} ${count.toLocaleString("en")}`),
  );
}

// ---- one monitor --------------------------------------------------------------------------------------------------

function showOne(root, state, about, record, context) {
  const { strata } = about;
  const largest = strata.reduce((best, one) => (one.times.length > (best?.times.length ?? -1) ? one : best), null);
  const stratum = strata.find(({ number }) => String(number) === state.stratum) ?? largest;
  const head = [
    h("p.part-note", {}, stateLink("All monitors", { pool: state.pool, view: "monitor" }, context.go)),
    h("h1", {}, `Monitor ${about.name}`),
    definition(about, record),
    h("p", {}, Object.keys(about.states).length ? stateChips(about.states) : "No pixel has a state at the last exposure."),
  ];
  if (!stratum) {
    fill(
      root,
      head,
      h(
        "p.empty",
        {},
        "The monitor has no exposures yet. This command takes them in: ",
        h("code", {}, `miripool monitor update ${shell(state.pool)} ${shell(about.name)}`),
      ),
    );
    return;
  }
  const page = { pool: state.pool, name: about.name, about, stratum, state, ...helpers(state, stratum, context) };
  fill(
    root,
    head,
    strata.length > 1 ? stratumChoice(state, strata, stratum, context.go) : h("p.faint", {}, `Stratum: ${stratum.title}.`),
    ...partsOf(page, context.signal),
  );
}

/** What parts use to change the state, and to lead to other views. */
function helpers(state, { detector }, { go, note }) {
  return {
    keep: (changes) => {
      Object.assign(state, changes);
      note(state);
    },
    openExposure: ({ urn }) => go({ pool: state.pool, view: "image", serial: serialOf(urn) }),
    pixelState: (x, y, of = detector) => ({ pool: state.pool, view: "pixel", x, y, detector: of, monitor: state.name }),
    go,
  };
}

function definition(about, record) {
  const facts = [
    ["follows", `${about.kind}${record?.where ? " where " : ""}`, record?.where],
    ["tag", record?.tag],
    ["region", record?.region],
    ["light", record?.light],
    [
      "version",
      `${about.version}${about.tags.length ? ` (${about.tags.join(", ")})` : ""}, updated ${record ? timeText(Math.floor(seconds(record.updated))) : "unknown"} UTC`,
    ],
    [
      "exposures",
      record && `${counted(record.exposures, "exposure")}; ${counted(record.pixels, "pixel")} with a state at the last exposure`,
    ],
    ["false alarms", record && `at most ${record.false_alarms} of quiet pixels get a state`],
  ];
  return h(
    "dl.facts",
    {},
    facts
      .filter(([, value]) => value)
      .map(([name, value, code]) => [h("dt", {}, name), h("dd", {}, value, code ? h("code", {}, code) : null)]),
  );
}

function stratumChoice(state, strata, chosen, go) {
  return h(
    "div.mon-controls",
    {},
    h(
      "label",
      {},
      "Stratum ",
      h(
        "select",
        { on: { change: (event) => go({ ...state, stratum: event.target.value, at: "", offset: "" }) } },
        strata.map((one) =>
          h(
            "option",
            { value: String(one.number), selected: one === chosen },
            `${one.number}: ${one.title} (${counted(one.times.length, "exposure")})`,
          ),
        ),
      ),
    ),
  );
}

function partsOf(page, signal) {
  const trends = part("Trends", (stop) => loadTrends(page, stop), signal, {
    tall: true,
    beside: quantityChoice(page, () => trends.run()),
  });
  const map = mapPart(page, signal);
  const episodes = part(
    "Episodes",
    (stop) =>
      loadEpisodes(
        page,
        (changes) => {
          page.keep(changes);
          episodes.run();
        },
        stop,
      ),
    signal,
    {
      beside: statesChoice(page, (state) => {
        page.keep({ state, offset: "" });
        episodes.run();
      }),
    },
  );
  const events = part("Events", (stop) => loadEffects(page, stop), signal);
  const population = part("Populations", (stop) => loadPopulation(page, stop), signal, { tall: true });
  return [trends, map, episodes, events, population].map(({ element }) => element);
}

function quantityChoice(page, redraw) {
  const { state, keep } = page;
  const quantity = h(
    "select",
    {
      on: {
        change: (event) => {
          keep({ quantity: event.target.value === "median" ? "" : event.target.value });
          redraw();
        },
      },
    },
    Object.entries(QUANTITIES).map(([value, { text }]) =>
      h("option", { value, selected: value === (state.quantity ?? "median") }, text),
    ),
  );
  const fit = h("input", {
    type: "checkbox",
    checked: state.fit === "true",
    on: {
      change: (event) => {
        keep({ fit: event.target.checked ? "true" : "" });
        redraw();
      },
    },
  });
  return h("div.mon-controls", {}, h("label", {}, "Quantity ", quantity), h("label", {}, fit, "Fitted lines"));
}
