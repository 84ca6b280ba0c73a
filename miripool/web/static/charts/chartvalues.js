// Numbers and times of the API as charts need them, and as people read them. Times on axes are seconds since 1970, UTC.

/** Give a number of an answer: null and "NaN" are NaN, "inf" and "-inf" infinite. */
export function num(value) {
  if (typeof value === "number") return value;
  if (value === "inf") return Infinity;
  return value === "-inf" ? -Infinity : NaN;
}

/** Give the seconds since 1970 of an ISO time in UTC, or NaN. */
export function seconds(text) {
  return text ? Date.parse(text) / 1000 : NaN;
}

/** Write a time (seconds, UTC), to the millisecond where it has any. */
export function timeText(at) {
  if (!Number.isFinite(at)) return "unknown";
  const iso = new Date(Math.round(at * 1000)).toISOString();
  return iso.replace("T", " ").replace(/(\.000)?Z$/, "");
}

/** Write a number with some digits. */
export function numberText(value, digits = 5) {
  if (value === null || value === undefined || Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "−inf";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-4 || size >= 1e7) ? shortExponent(value, digits) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

function shortExponent(value, digits) {
  return String(Number(value.toPrecision(digits)).toExponential()).replace("e+", "e");
}

/** Write a value with its error, both in one unit. */
export function withError(value, error, unit = "") {
  const text = Number.isFinite(error) ? `${numberText(value)} ± ${numberText(error, 3)}` : numberText(value);
  return unit ? `${text} ${unit}` : text;
}

/** Write a fraction in percent. */
export function percent(value) {
  return Number.isFinite(value) ? `${numberText(100 * value, 3)} %` : "";
}

/** Give the median of finite numbers, or NaN. */
export function medianOf(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (!sorted.length) return NaN;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

const DAY = 86400;
const two = (value) => String(value).padStart(2, "0");

/** Write the ticks of an axis of times: what changes from tick to tick, and below it what does not. */
export function timeTicks(ticks, step) {
  let before = "";
  return ticks.map((at) => {
    const [upper, lower] = tickText(new Date(Math.round(at * 1000)), step);
    const shown = lower && lower !== before ? `${upper}\n${lower}` : upper;
    before = lower;
    return shown;
  });
}

function tickText(date, step) {
  const year = String(date.getUTCFullYear()),
    month = two(date.getUTCMonth() + 1),
    day = two(date.getUTCDate());
  if (step >= 360 * DAY) return [year, ""];
  if (step >= DAY) return [`${month}-${day}`, year];
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  if (step >= 60) return [clock, `${year}-${month}-${day}`];
  const second = two(date.getUTCSeconds());
  if (step >= 1) return [`${clock}:${second}`, `${year}-${month}-${day}`];
  return [`${second}.${String(date.getUTCMilliseconds()).padStart(3, "0")} s`, `${year}-${month}-${day} ${clock}`];
}
