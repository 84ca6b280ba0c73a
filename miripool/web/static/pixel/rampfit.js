// Straight lines through ramps: pure functions of values and flags of one integration.

/** Give the names of the flags of a value from { name: bit }; a bit without a name is "bit N". */
export function flagNames(value, flags) {
  const names = Object.keys(flags).filter((name) => flags[name] > 0 && (value & flags[name]) !== 0);
  let left = value;
  for (const name of names) left &= ~flags[name];
  for (let bit = 0; bit < 32; bit++) if ((left >>> bit) & 1) names.push(`bit ${bit}`);
  return names;
}

/**
 * Give the runs of usable groups of one integration: without NaN, DO_NOT_USE and SATURATED; a jump begins a new run.
 * @param {number[]} values - DN, by group.
 * @param {string[][]} flags - names, by group.
 * @returns {number[][]} groups, counted from 0.
 */
export function usableRuns(values, flags) {
  const runs = [];
  let run = null;
  values.forEach((value, group) => {
    const names = flags[group] ?? [];
    if (names.includes("JUMP_DET")) run = null;
    if (!Number.isFinite(value) || names.includes("DO_NOT_USE") || names.includes("SATURATED")) return;
    if (!run) runs.push((run = []));
    run.push(group);
  });
  return runs;
}

/** Fit lines of one slope through runs of groups, each at its own height, by least squares; NaN without two groups in a run. */
export function slopeThrough(values, runs) {
  let product = 0,
    square = 0;
  for (const run of runs) {
    const middle = mean(run),
      level = mean(run.map((group) => values[group]));
    for (const group of run) {
      product += (group - middle) * (values[group] - level);
      square += (group - middle) ** 2;
    }
  }
  return square > 0 ? product / square : NaN;
}

/** Give the ends of the lines of a slope (DN a group) through runs: [[group, value], [group, value]] for each run of two groups or more. */
export function linesThrough(values, runs, slope) {
  if (!Number.isFinite(slope)) return [];
  return runs
    .filter((run) => run.length > 1)
    .map((run) => {
      const middle = mean(run),
        level = mean(run.map((group) => values[group]));
      return [run[0], run.at(-1)].map((group) => [group, level + slope * (group - middle)]);
    });
}

function mean(numbers) {
  return numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
}
