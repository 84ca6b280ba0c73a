// The HTTP API. All addresses are relative to the page, so that a proxy may put a prefix before them.

import { toQuery } from "./dom.js";

/** An answer that is no success: `message` says what to do, `kind` and `column` are those of the API. */
export class ApiError extends Error {
  constructor(status, { kind = "error", message = "", column = null, text = null } = {}) {
    super(message || `the server answered with status ${status}`);
    Object.assign(this, { status, kind, column, text });
  }
}

const KEY = `miripool key of ${location.pathname}`;

/** Keep the key for changes, which the printed address leads to in a fragment: no server ever sees that, cookies are seen by all. */
function keepKey() {
  const found = /^#key=(.+)$/.exec(location.hash);
  if (!found) return;
  localStorage.setItem(KEY, found[1]);
  history.replaceState(null, "", location.pathname + location.search);
}

keepKey();

let session = null;

/** Give what the server says about itself and the user: version, user, write, key, pools. Asked once. */
export function getSession() {
  session ??= get("api/session");
  return session;
}

/** Give the address of a part of the API, with parameters; parameters that are empty are left out. */
export function address(path, parameters = {}) {
  const query = toQuery(parameters);
  return query ? `${path}?${query}` : path;
}

/** Give the path of a pool in the API, e.g. poolPath("jpl 8", "products", 3). */
export function poolPath(pool, ...parts) {
  return ["api/pools", pool, ...parts].map((part, i) => (i ? encodeURIComponent(part) : part)).join("/");
}

async function ask(url, options) {
  let answer;
  try {
    // The page's own address may hold a password, and with that one fetch refuses all relative addresses.
    answer = await fetch(new URL(url, location.origin + location.pathname), { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { kind: "unreachable", message: "The server does not answer. Is miripool still running?" });
  }
  if (answer.ok) return answer;
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch {
    // not JSON: a proxy may have answered
  }
  throw new ApiError(answer.status, told);
}

/** Ask for JSON. @param {AbortSignal} [signal] - ends the question, on the server too. */
export async function get(path, parameters = {}, signal = undefined) {
  return (await ask(address(path, parameters), { signal })).json();
}

/** Ask for an array: { values, shape, dtype, headers }; values is a typed array in C order. */
export async function getArray(path, parameters = {}, signal = undefined) {
  const answer = await ask(address(path, parameters), { signal });
  const dtype = answer.headers.get("X-Dtype");
  const shape = answer.headers.get("X-Shape").split(",").map(Number);
  const types = { float32: Float32Array, uint32: Uint32Array, uint8: Uint8Array, float64: Float64Array };
  return { values: new types[dtype](await answer.arrayBuffer()), shape, dtype, headers: answer.headers };
}

/** Change something: method POST unless given; gives the JSON of the answer. */
export async function change(path, body = {}, method = "POST") {
  const { key } = await getSession(); // behind a proxy the server gives it; alone, the printed address
  const headers = { "Content-Type": "application/json", "X-Miripool-Token": key ?? localStorage.getItem(KEY) ?? "" };
  return (await ask(path, { method, headers, body: JSON.stringify(body) })).json();
}
