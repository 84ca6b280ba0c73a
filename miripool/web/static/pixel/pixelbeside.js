// One pixel in a narrow panel beside an image: its values in one version or in two, its ramps, history and life.

import { fill, h, stateLink } from "../dom.js";
import { addPlotSheet, part } from "../parts.js";
import { askValues, imageState, unlessOutside } from "./pixelask.js";
import { loadHistory } from "./pixelhistory.js";
import { loadLife } from "./pixellife.js";
import { loadRampsOf } from "./pixelramps.js";
import { valuesTable } from "./pixelvalues.js";

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
 * Show a pixel.
 * @param {object} given - pool, serial, second (the serial number of a version that is compared, or null), x, y (1-based, FULL
 *   array), detector, dataset, integration (from 1), go, session, signal.
 */
export async function mountPixel(panel, { pool, serial, second, x, y, detector, dataset, integration, go, signal }) {
  await addPlotSheet();
  if (signal.aborted) return;
  const asked = { pool, x, y, detector: detector ?? "", kind: "RateInts", tag: "", where: "", all_versions: false };
  const open = (record) => go(imageState(pool, record, x, y));
  const openGroup = (record) => go({ ...imageState(pool, record, x, y), group: record.group });
  const values = keptValues(asked, serial, signal);
  const others = second === null ? null : otherValues(asked, second, signal);
  for (const promise of [values, others]) promise?.catch(() => {}); // each part that needs them says what is wrong
  const parts = {
    [others ? "Values in both versions" : "Values in this version"]: async () =>
      valuesTable([await values, await others], dataset, integration),
    Ramps: async (stop) => loadRampsOf(asked, await values, { compact: true, integration, onOpen: openGroup }, stop),
    History: (stop) => loadHistory(asked, { compact: true, onOpen: open }, stop),
    Life: (stop) => loadLife(asked, { compact: true, onOpen: open }, stop),
  };
  fill(
    panel,
    h(
      "div.px-panel",
      {},
      h("p.part-note", {}, stateLink("Whole page", { pool, view: "pixel", x, y, detector, serial }, go)),
      Object.entries(parts).map(
        ([title, load]) => part(title, (stop) => unlessOutside(load(stop)), signal, { level: 3 }).element,
      ),
    ),
  );
}

/** Give the values in the second version; none where it has no such pixel. */
async function otherValues(asked, serial, signal) {
  try {
    return await keptValues(asked, serial, signal);
  } catch (error) {
    if (!(error.status >= 400 && error.status < 500)) throw error;
    return { values: {}, urn: "" };
  }
}
