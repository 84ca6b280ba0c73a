// From values to colours: limits that suit a frame, and the stretch between them. Pure functions on typed arrays.

/** Names of the stretches, with what people read. */
export const SCALES = [["linear", "linear"], ["log", "log"], ["asinh", "asinh"]];

/** Names of the rules for limits, with what people read. */
export const LIMITS = [
  ["zscale", "zscale"], ["minmax", "min, max"], ["p99", "99 %"], ["p99.5", "99.5 %"], ["p99.9", "99.9 %"], ["manual", "typed"],
];

/** Exponent of the log stretch: DS9 uses log(1000 t + 1) / log(1001). */
const LOG = 1000;
/** Softening of the asinh stretch: DS9 uses asinh(10 t) / 3. */
const ASINH = 10;
/** Pixels that percentiles are counted on. Sorting all 1,056,768 pixels of a FULL frame takes 90 ms, these take 8 ms. */
const SAMPLE = 120_000;

/** Stretches of t in [0, 1], the place of a value between the limits; `back` is the inverse. */
const STRETCHES = {
  linear: { there: (t) => t, back: (s) => s },
  log: { there: (t) => Math.log1p(LOG * t) / Math.log1p(LOG), back: (s) => Math.expm1(s * Math.log1p(LOG)) / LOG },
  asinh: { there: (t) => Math.asinh(ASINH * t) / Math.asinh(ASINH), back: (s) => Math.sinh(s * Math.asinh(ASINH)) / ASINH },
};

/** Give the stretch of a name: { there, back } on [0, 1]; around the middle in both directions where `symmetric`. */
export function stretchOf(name, symmetric = false) {
  const plain = STRETCHES[name] ?? STRETCHES.linear;
  if (!symmetric) return plain;
  const around = (f) => (t) => 0.5 + 0.5 * Math.sign(t - 0.5) * f(Math.abs(2 * t - 1));
  return { there: around(plain.there), back: around(plain.back) };
}

/** Count the finite values and give the least and the greatest: { count, min, max }; min and max are NaN without any. */
export function extent(values) {
  let count = 0, min = Infinity, max = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v - v !== 0) continue; // NaN and infinite values
    count++;
    if (v < min) min = v;
    if (v > max) max = v;
  }
  return count ? { count, min, max } : { count, min: NaN, max: NaN };
}

/** Give some `most` of the finite values, evenly spread over the frame, sorted. */
function sortedSample(values, count, most, stride = Math.max(1, Math.floor(count / most))) {
  const taken = new Float64Array(Math.min(Math.ceil(count / stride), most));
  let seen = 0, made = 0;
  for (let i = 0; i < values.length && made < taken.length; i++) {
    const v = values[i];
    if (v - v !== 0) continue;
    if (seen++ % stride === 0) taken[made++] = v;
  }
  return taken.subarray(0, made).sort();
}

/** A stride that shares no factor with the columns of a frame, so that a sample meets all of its columns. */
function freeStride(count, columns) {
  const common = (a, b) => (b ? common(b, a % b) : a);
  let stride = Math.max(1, Math.ceil(count / SAMPLE));
  while (common(stride, columns) > 1) stride++;
  return stride;
}

/** Interpolate the quantile q in [0, 1] of sorted values. */
function quantile(sorted, q) {
  const at = q * (sorted.length - 1);
  const low = Math.floor(at), part = at - low;
  return sorted[low] + (part ? part * (sorted[low + 1] - sorted[low]) : 0);
}

/** Give the limits that hold the central `percent` of the finite values, as [lo, hi]; `columns` is the frame's nx. */
export function percentileLimits(values, percent, columns = 1, { count } = extent(values)) {
  if (!count) return [NaN, NaN];
  const sorted = sortedSample(values, count, SAMPLE, freeStride(count, columns));
  const out = (100 - percent) / 200;
  return [quantile(sorted, out), quantile(sorted, 1 - out)];
}

/** Give the limits of IRAF's zscale as [lo, hi]: 1000 samples, contrast 0.25, as astropy's ZScaleInterval does. */
export function zscaleLimits(values, { count } = extent(values)) {
  if (!count) return [NaN, NaN];
  const sorted = sortedSample(values, count, 1000);
  const n = sorted.length, contrast = 0.25;
  let lo = sorted[0], hi = sorted[n - 1];
  const fit = fitLine(sorted);
  if (fit.kept >= Math.max(5, Math.floor(n * 0.5))) {
    const slope = fit.slope / contrast, middle = Math.floor((n - 1) / 2), median = quantile(sorted, 0.5);
    lo = Math.max(lo, median - (middle - 1) * slope);
    hi = Math.min(hi, median + (n - middle) * slope);
  }
  return [lo, hi];
}

/** Fit value = slope * rank + offset; reject outliers of 2.5 sigma and their neighbours five times: { slope, kept }. */
function fitLine(sorted) {
  const n = sorted.length, least = Math.max(5, Math.floor(n * 0.5)), grow = Math.max(1, Math.floor(n * 0.01));
  let bad = new Uint8Array(n), kept = n, before = n + 1, line = { slope: 0, offset: sorted[0] };
  for (let round = 0; round < 5 && kept < before && kept >= least; round++) {
    before = kept;
    line = leastSquares(sorted, bad);
    bad = grown(rejected(sorted, bad, line), grow);
    kept = bad.reduce((sum, is) => sum - is, n);
  }
  return { slope: line.slope, kept };
}

function leastSquares(sorted, bad) {
  let n = 0, x = 0, y = 0, xx = 0, xy = 0;
  sorted.forEach((v, i) => { if (!bad[i]) { n++; x += i; y += v; xx += i * i; xy += i * v; } });
  const across = n * xx - x * x;
  const slope = across ? (n * xy - x * y) / across : 0;
  return { slope, offset: (y - slope * x) / n };
}

function rejected(sorted, bad, { slope, offset }) {
  const rest = sorted.map((v, i) => v - slope * i - offset);
  const good = rest.filter((_, i) => !bad[i]);
  const mean = good.reduce((sum, v) => sum + v, 0) / good.length;
  const sigma = Math.sqrt(good.reduce((sum, v) => sum + (v - mean) ** 2, 0) / good.length);
  return Uint8Array.from(rest, (v) => (Math.abs(v) > 2.5 * sigma ? 1 : 0));
}

/** Mark the neighbours of marked elements too, as numpy.convolve(bad, ones(width), "same") does. */
function grown(bad, width) {
  const more = new Uint8Array(bad.length), left = Math.floor((width - 1) / 2);
  bad.forEach((is, i) => { if (is) more.fill(1, Math.max(0, i - (width - 1 - left)), i + left + 1); });
  return more;
}

/** Give the limits of a rule for a frame as [lo, hi]; NaN where no pixel is finite. */
export function ruleLimits(rule, values, columns, about = extent(values)) {
  const all = [about.min, about.max];
  if (rule === "minmax") return all;
  const found = rule.startsWith("p") ? percentileLimits(values, Number(rule.slice(1)), columns, about) : zscaleLimits(values, about);
  return found[0] < found[1] ? found : all; // in a map of states most pixels have one value
}

/** Make limits that can be drawn: finite, lo < hi, and around 0 where `symmetric`. */
export function usableLimits([lo, hi], symmetric = false) {
  if (!Number.isFinite(lo) || !Number.isFinite(hi)) return symmetric ? [-1, 1] : [0, 1];
  if (symmetric) {
    const most = Math.max(Math.abs(lo), Math.abs(hi)) || 1;
    return [-most, most];
  }
  if (lo > hi) [lo, hi] = [hi, lo];
  if (lo === hi) {
    const around = Math.abs(lo) * 0.01 || 0.5;
    return [lo - around, hi + around];
  }
  return [lo, hi];
}

/** Count the values in `bins` equal bins from lo to hi; values beyond are not counted. */
export function histogram(values, lo, hi, bins) {
  const counts = new Uint32Array(bins), width = bins / (hi - lo);
  for (let i = 0; i < values.length; i++) {
    const at = (values[i] - lo) * width;
    if (at >= 0 && at < bins) counts[at | 0]++;
    else if (values[i] === hi) counts[bins - 1]++;
  }
  return counts;
}

/** Write a number for people: with so many significant digits, but all before the point; no trailing zeros. */
export function short(value, digits = 6) {
  if (value === null || value === undefined || Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+inf" : "−inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value).replace("-", "−");
  const size = Math.abs(value);
  if (size >= 10 ** (digits - 1) && size < 1e7) return value.toFixed(0).replace("-", "−");
  const text = size >= 1e7 || size < 1e-4 ? value.toExponential(Math.max(1, digits - 2)) : value.toPrecision(digits);
  return text.replace(/(\.\d*?)0+(e|$)/, "$1$2").replace(/\.(e|$)/, "$1").replaceAll("-", "−");
}
