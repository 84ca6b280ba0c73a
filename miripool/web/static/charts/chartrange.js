// Ranges of a chart's axes.

/** Give the range of x over all series, events excepted; [low, high] with some room, also of a single point. */
export function rangeOfX({ series, x, bands = [] }) {
  let low = Infinity,
    high = -Infinity;
  const see = (v) => {
    if (Number.isFinite(v)) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
  };
  for (const { points } of series) for (const point of points) see(point.x);
  if (low > high)
    for (const { from, to } of bands) {
      see(from);
      see(to);
    }
  if (low > high) return x.time ? [0, 86400] : [0, 1];
  if (low === high) return x.time ? [low - 43200, high + 43200] : [low - 0.5, high + 0.5];
  const room = 0.03 * (high - low);
  return [low - room, high + room];
}

/**
 * Give the range of y of the series that are shown, between two values of x.
 * @param {number} top - share of the height that names at the top need.
 */
export function rangeOfY(series, [from, to], top, fromZero) {
  const wanted = series.filter((one) => !one.loose && one.points.length);
  let [low, high] = extent(wanted, from, to, ({ y }) => [y, y]);
  if (low > high) [low, high] = extent(wanted, -Infinity, Infinity, ({ y }) => [y, y]);
  if (low > high) return [0, 1];
  const [least, most] = extent(
    wanted.filter(({ bars }) => bars !== false),
    from,
    to,
    ({ y, lo, hi }) => (Number.isFinite(y) ? [lo, hi] : [NaN, NaN]),
  );
  // A huge error of one point must not flatten all others.
  const span = high - low || Infinity;
  if (least < low) low = Math.max(least, low - span);
  if (most > high) high = Math.min(most, high + span);
  if (fromZero) low = Math.min(low, 0);
  if (high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high))) {
    const half = Math.abs(low) * 0.1 || 1;
    [low, high] = [low - half, high + half];
  }
  const room = 0.06 * (high - low);
  const bottom = fromZero && low === 0 ? 0 : low - room;
  return [bottom, bottom + (high + room - bottom) / (1 - Math.min(top, 0.5))];
}

function extent(series, from, to, valuesOf) {
  let low = Infinity,
    high = -Infinity;
  for (const { points } of series) {
    for (const point of points) {
      if (!(point.x >= from && point.x <= to)) continue;
      for (const v of valuesOf(point)) {
        if (!Number.isFinite(v)) continue;
        if (v < low) low = v;
        if (v > high) high = v;
      }
    }
  }
  return [low, high];
}
