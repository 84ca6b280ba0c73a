// How values look to people.

/** Write a number of bytes. */
export function bytes(value) {
  if (value === null || value === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) { size /= 1000; unit += 1; }
  return `${unit && size < 100 ? size.toPrecision(3) : Math.round(size)} ${units[unit]}`;
}

/** Write a time of the API, ISO text in UTC, to the second. */
export function time(value) {
  return typeof value === "string" ? value.replace("T", " ").replace(/(\.\d+)?Z$/, "") : "";
}

/** Write a value of a keyword or field. */
export function word(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(word).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** Write a number with some digits; other values as they are. */
export function short(value, digits = 6) {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(digits))) : word(value);
}

/** Write a count with its noun. */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Give the serial number that a URN ends with. */
export function serialOf(urn) {
  return Number(urn.slice(urn.lastIndexOf(":") + 1));
}

/** Name a writer, user@host. A user's name that holds a blank or @ is quoted: it could look like another user's. */
export function writer(by) {
  const at = by.lastIndexOf("@");
  return /[ @]/.test(by.slice(0, Math.max(at, 0))) ? `“${by.slice(0, at)}”${by.slice(at)}` : by;
}

/** Give a word as a shell needs it. */
export function shell(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`;
}

/** Leave out of a message what is for Python and the command line only. */
export function forPage(text) {
  return text.replace(/ \(\w+=True, --[\w-]+\)/g, "").replace(/; all_versions=True or --all-versions includes (.+?)(?=;|$)/, "; tick “all versions” to include $1");
}

const TIMES = new Set(["created", "start_time", "removed", "purged"]);

/** Write the value of a column of a list of versions. */
export function cell(column, value) {
  const bare = column.toLowerCase();
  if (TIMES.has(bare)) return time(value);
  if (bare === "bytes" || bare === "stored_bytes") return bytes(value);
  return short(value);
}
