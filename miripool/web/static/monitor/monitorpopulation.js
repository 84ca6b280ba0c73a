// Populations of a monitor: how many pixels are in each state through time.

import { get, poolPath } from "../api.js";
import { stateStyle } from "../charts/chartmarks.js";
import { makeChart } from "../charts/charts.js";
import { seconds, timeText } from "../charts/chartvalues.js";
import { h } from "../dom.js";
import { eventsOf } from "../pixel/pixellife.js";

/** Ask for the populations, and show them. */
export async function loadPopulation(page, signal) {
  const all = await get(poolPath(page.pool, "monitors", page.name, "population"), {}, signal);
  const records = all.filter((one) => one.stratum === page.stratum.title);
  if (!records.length) return h("p.empty", {}, "No pixel of this stratum was in any state.");
  return makeChart(specOf(page, records), signal);
}

function specOf(page, records) {
  const states = page.about.known_states.filter((state) => records.some((one) => one.state === state));
  const ends = states.map((state) => `${state} ${records.findLast((one) => one.state === state).count}`);
  return {
    label: `Pixels in each state through time, monitor ${page.name}; at the last exposure: ${ends.join(", ")}.`,
    x: { time: true, label: "start of the exposure (UTC)" },
    y: { label: "pixels", fromZero: true, whole: true },
    series: states.map((state) => ({
      name: state,
      ...stateStyle(state),
      line: true,
      width: 2,
      points: records.filter((one) => one.state === state).map((one) => ({ x: seconds(one.time), y: one.count, record: one })),
    })),
    events: eventsOf(page.about.events),
    height: 320,
    columns: [
      { text: "time (UTC)", of: ({ x }) => timeText(x) },
      { text: "pixels", number: true, of: ({ y }) => y.toLocaleString("en") },
      { text: "born", number: true, of: ({ record }) => String(record.born) },
      { text: "healed", number: true, of: ({ record }) => String(record.healed) },
    ],
    onPick: page.openExposure,
    pickText: "open this exposure",
  };
}
