// The life of a pixel in a monitor: its rate in each exposure, its neighbours' level, its states, and events.

import { stateStyle } from "../charts/chartmarks.js";
import { makeChart } from "../charts/charts.js";
import { num, numberText, seconds, timeText, withError } from "../charts/chartvalues.js";
import { h } from "../dom.js";
import { gridTable } from "../gridtable.js";
import { askLife, askMonitors } from "./pixelask.js";
import { counted, shell } from "../words.js";

/**
 * Ask for the life of a pixel, and show it.
 * @param {object} options - monitor: a name, or empty for the first that follows the pixel; onMonitor(name), onOpen(record),
 *   onFound(name) with the monitor that answered; compact.
 */
export async function loadLife(asked, options, signal) {
  const monitors = (await askMonitors(asked, signal)).filter(({ exposures }) => exposures);
  if (!monitors.length) return noMonitor(asked.pool);
  const life = await askLife(asked, options.monitor || monitors[0].name, signal);
  const choice = monitors.length > 1 && options.onMonitor ? monitorChoice(monitors, life.monitor, options.onMonitor) : null;
  options.onFound?.(life.monitor);
  return lifeOf(life, asked, options, choice, signal);
}

function noMonitor(pool) {
  return h(
    "p.empty",
    {},
    "No monitor of this pool follows this pixel. A monitor of exposures that cover it shows its life; these commands make one: ",
    h("code", {}, `miripool monitor create ${shell(pool)} NAME --where "exp_type == 'MIR_DARKIMG'"`),
    " and ",
    h("code", {}, `miripool monitor update ${shell(pool)} NAME`),
  );
}

function monitorChoice(monitors, chosen, onMonitor) {
  return h(
    "label.inline",
    {},
    "Monitor ",
    h(
      "select",
      { on: { change: (event) => onMonitor(event.target.value) } },
      monitors.map(({ name }) => h("option", { value: name, selected: name === chosen }, name)),
    ),
  );
}

function lifeOf(life, asked, options, choice, signal) {
  const strata = [...new Set(life.exposures.map(({ stratum }) => stratum))];
  const counts = new Map(strata.map((stratum) => [stratum, life.exposures.filter((one) => one.stratum === stratum).length]));
  const largest = strata.reduce((a, b) => (counts.get(b) > counts.get(a) ? b : a), strata[0]);
  const place = h("div");
  const draw = (stratum) => place.replaceChildren(makeChart(specOf(life, asked, stratum, options), signal));
  draw(largest);
  const strataChoice =
    strata.length < 2
      ? null
      : h(
          "label.inline",
          {},
          "Stratum ",
          h(
            "select",
            { on: { change: (event) => draw(event.target.value) } },
            strata.map((stratum) =>
              h("option", { value: stratum, selected: stratum === largest }, `${stratum} (${counts.get(stratum)})`),
            ),
          ),
        );
  const what = `Monitor ${life.monitor}: ${counted(life.exposures.length, "exposure")}, ${counted(life.episodes.length, "episode")}.`;
  return h(
    "div",
    {},
    h("p.faint.part-note", {}, h("span", {}, what), choice, strataChoice),
    place,
    episodeTable(life.episodes, strata.length > 1, options.compact),
  );
}

function specOf(life, asked, stratum, { onOpen, compact }) {
  const exposures = life.exposures.filter((one) => one.stratum === stratum);
  const points = exposures.map((one) => {
    const y = num(one.rate),
      error = num(one.error);
    return { x: seconds(one.time), y, error, lo: y - error, hi: y + error, record: one, hollow: Boolean(one.flags?.length) };
  });
  const level = exposures.map((one) => ({ x: seconds(one.time), y: num(one.level) }));
  const episodes = life.episodes.filter((one) => one.stratum === stratum);
  const states = [...new Set(episodes.map(({ state }) => state))];
  return {
    label: `Life of pixel x ${asked.x}, y ${asked.y} in monitor ${life.monitor}: ${counted(exposures.length, "exposure")}; ${states.length ? `states: ${states.join(", ")}` : "no state at any time"}.`,
    x: { time: true, label: "start of the exposure (UTC)" },
    y: { label: "rate (DN/s)" },
    series: [
      { name: "level of its neighbours", decoration: true, colour: "#66717f", line: true, width: 2, points: level },
      { name: "rate", colour: "#0072b2", shape: "circle", points },
    ],
    bands: episodes.map(bandOf),
    events: eventsOf(life.events),
    keys: points.some(({ hollow }) => hollow) ? [{ name: "DQ flags", shape: "circle", hollow: true, colour: "#0072b2" }] : [],
    columns: [
      { text: "time (UTC)", of: ({ x }) => timeText(x) },
      { text: "rate (DN/s)", number: true, of: ({ y, error }) => withError(y, error) },
      { text: "level (DN/s)", number: true, of: ({ record }) => numberText(num(record.level), 4) },
      { text: "state", of: ({ record }) => record.state },
      { text: "integrations", number: true, of: ({ record }) => String(record.integrations) },
      { text: "DQ", of: ({ record }) => (record.flags ?? []).join(", ") },
    ],
    height: compact ? 210 : 300,
    onPick: onOpen,
    pickText: "open this exposure",
  };
}

function bandOf({ state, begin, end, amplitude, error }) {
  const until = end ? `until ${timeText(seconds(end))}` : "and it lasts";
  return {
    name: state,
    colour: stateStyle(state).colour,
    from: seconds(begin),
    to: end ? seconds(end) : null,
    text: `${state} from ${timeText(seconds(begin))} ${until}: ${withError(num(amplitude), num(error), "DN/s")}`,
  };
}

/** Give events of the API as a chart takes them. */
export function eventsOf(events) {
  return events.map(({ time, kind, note }) => ({
    x: seconds(time),
    name: kind,
    text: `${kind} at ${timeText(seconds(time))}${note ? `: ${note}` : ""}`,
  }));
}

function episodeTable(episodes, several, compact) {
  if (!episodes.length) return h("p.faint", {}, "The pixel was in no state at any time.");
  const columns = [
    ["state"],
    ["begin (UTC)"],
    ["end (UTC)"],
    ["amplitude (DN/s)", true],
    ["significance", true],
    ...(compact ? [] : [["exposures", true]]),
    ...(several ? [["stratum"]] : []),
  ];
  const cells = (one) => [
    one.state,
    timeText(seconds(one.begin)),
    one.end ? timeText(seconds(one.end)) : "",
    withError(num(one.amplitude), num(one.error)),
    numberText(num(one.significance), 3),
    ...(compact ? [] : [String(one.exposures)]),
    ...(several ? [one.stratum] : []),
  ];
  return gridTable("Episodes of the pixel; the end is empty while the state lasts", columns, episodes.map(cells));
}
