// The pixels that automatic limits are counted on: those that see the sky. Pure functions on typed arrays.

import { percentileLimits } from "./scales.js";

const DO_NOT_USE = 1;

/**
 * Give the values of a frame with NaN where they would spoil limits; the values themselves if there is no such place.
 *
 * Left out are reference pixels: the outermost columns of the FULL detector; and columns at the frame's edges that are of
 * another brightness than the others. In SUB64 of the tests at JPL the last four have 16,600 DN, the others 12,000 DN.
 * Left out are also pixels that are DO_NOT_USE, unless these are most of them, as in the first group of a ramp.
 * @param {object} frame - values in C order, nx, ny, x, y, of; see coordinatesOf.
 * @param {object|null} place - of the API: with detector_columns and reference_columns.
 * @param {Uint32Array|null} flags - of the same pixels, if they are known.
 */
export function scienceValues({ values, nx, ny, x, of }, place, flags) {
  const unseen = of === "detector" ? unseenColumns(values, nx, ny, x, place) : [];
  const columns = unseen.length < nx ? unseen : [];
  const unusable = flags?.length === values.length ? countFlagged(flags) : 0;
  const dropped = unusable > 0 && unusable < values.length / 2;
  if (!columns.length && !dropped) return values;
  const made = values.slice();
  for (const column of columns) for (let i = column; i < made.length; i += nx) made[i] = NaN;
  if (dropped) for (let i = 0; i < made.length; i++) if (flags[i] & DO_NOT_USE) made[i] = NaN;
  return made;
}

function countFlagged(flags) {
  let count = 0;
  for (let i = 0; i < flags.length; i++) count += flags[i] & DO_NOT_USE;
  return count;
}

/** Give the columns, counted from 0, of reference pixels and at edges of another brightness. */
function unseenColumns(values, nx, ny, x, { detector_columns: all, reference_columns: width }) {
  const isReference = (column) => x + column <= width || x + column > all - width;
  const columns = Array.from({ length: nx }, (_, column) => column);
  const ends = width > 0 && nx > 2 * width ? [columns.slice(0, width), columns.slice(-width)] : [];
  const inner = valuesIn(values, nx, ny, columns.slice(width, -width).filter((column) => !isReference(column)));
  const [low, high] = percentileLimits(inner, 98);
  const isApart = (end) => {
    const own = valuesIn(values, nx, ny, end).filter(Number.isFinite).sort(), middle = own[own.length >> 1];
    return middle < low || middle > high;
  };
  const apart = ends.filter((end) => !end.every(isReference) && isApart(end)).flat();
  return columns.filter((column) => isReference(column) || apart.includes(column));
}

/** Give the values of some columns, of at most 64 rows. */
function valuesIn(values, nx, ny, columns) {
  const step = Math.ceil(ny / 64), made = new Float64Array(columns.length * Math.ceil(ny / step));
  let at = 0;
  for (let row = 0; row < ny; row += step) for (const column of columns) made[at++] = values[row * nx + column];
  return made;
}
