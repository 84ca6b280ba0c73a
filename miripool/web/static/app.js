// The page's frame: its state is its URL's query, and each view shows one state.

import { ApiError, getSession } from "./api.js";
import { fill, h, notify, stateLink, toQuery } from "./dom.js";

/**
 * Views by the value of `view` in the URL; each module has `show(root, state, context)`, maybe `leave()`, and maybe
 * `receive(event)`, which gives null if it shows what another program points at, and else what is left to say.
 */
const VIEWS = {
  table: () => import("./table/table.js"),
  version: () => import("./version/version.js"),
  image: () => import("./image/image.js"),
  compare: () => import("./image/image.js"),
  pixel: () => import("./pixel/pixel.js"),
  monitor: () => import("./monitor/monitor.js"),
  help: () => import("./help.js"),
};

let current = { module: null, stop: null };

function readState() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** Go to a state; `replace` leaves no step in the browser's history. */
function go(state, { replace = false } = {}) {
  const before = readState();
  history[replace ? "replaceState" : "pushState"](null, "", `?${toQuery(state)}`);
  if (before.view !== (state.view ?? undefined) || before.tab !== (state.tab ?? undefined) || String(before.serial) !== String(state.serial)) scrollTo(0, 0);
  return render();
}

/** Write a state into the URL without showing the view again: the view has shown it by itself. */
function note(state) {
  const page = document.getElementById("page");
  const isShown = page.dataset.shown === location.search;
  history.replaceState(null, "", `?${toQuery(state)}`);
  if (isShown) page.dataset.shown = location.search;
}

async function render() {
  current.stop?.abort();
  current.module?.leave?.();
  const stop = new AbortController();
  current = { module: null, stop };
  const page = document.getElementById("page");
  let state = readState();
  try {
    const session = await getSession();
    if (!state.pool && state.view !== "help") state = { ...state, pool: session.pool ?? session.pools[0] ?? "" };
    showBar(state, session);
    page.dataset.pool = state.pool;
    const name = state.view ?? "table";
    const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : null;
    if (!view) throw new ApiError(404, { message: `There is no view ${JSON.stringify(state.view)}. Go back to the table of products.` });
    if (!state.pool && state.view !== "help") {
      fill(page, h("p.empty", {}, "This home has no pool yet. Create one: ", h("code", {}, "miripool create NAME")));
      return;
    }
    const module = await view();
    if (stop.signal.aborted) return;
    current.module = module;
    await module.show(page, state, { go, note, session, signal: stop.signal });
  } catch (error) {
    if (error.name === "AbortError" || stop.signal.aborted) return;
    showError(page, error, state);
  }
  page.dataset.shown = location.search;
}

function showError(page, error, state) {
  document.title = "miripool: error";
  fill(
    page,
    h("section.failure", { role: "alert" },
      h("h1", {}, error instanceof ApiError ? "This can’t be shown" : "The page has a fault"),
      h("pre.message", {}, error.message),
      h("p", {}, stateLink("Products of this pool", { pool: state.pool }, go), " · ",
        h("button", { type: "button", on: { click: () => render() } }, "Try again"))),
  );
  if (!(error instanceof ApiError)) console.error(error);
}

function showBar(state, session) {
  const pools = h("select", { id: "pool", "aria-label": "Pool", on: { change: (event) => go({ pool: event.target.value }) } },
    session.pools.map((name) => h("option", { value: name, selected: name === state.pool }, name)));
  const tab = (text, wanted) => {
    const chosen = (state.view ?? "table") === (wanted.view ?? "table") && (state.tab ?? "products") === (wanted.tab ?? "products");
    return stateLink(text, { pool: state.pool, ...wanted }, go, { "aria-current": chosen ? "page" : null });
  };
  fill(
    document.getElementById("bar"),
    stateLink("miripool", { pool: state.pool }, go, { class: "brand" }),
    h("label.pool", { for: "pool" }, "pool ", pools),
    h("nav", { "aria-label": "Views" },
      tab("Observations", { tab: "observations" }),
      tab("Products", { tab: "products" }),
      tab("Pixels", { view: "pixel" }),
      tab("Monitors", { view: "monitor" }),
      tab("Trash", { tab: "trash" })),
    h("span.grow"),
    session.write ? null : h("span.chip", { title: session.user ? "You may look at the pools, and not change them" : "Started without the right to change the pool" }, "read only"),
    session.user ? h("span.user", { title: session.write ? `Your changes are recorded under the name ${session.user}` : `You are here as ${session.user}` }, session.user) : null,
    tab("Help", { view: "help" }),
  );
}

/** Show what another program points at: in the view if it can, else as a notice with links. */
async function hear() {
  const [session, { listen, tellOf }] = await Promise.all([getSession(), import("./samp/receiving.js")]);
  if (!session.samp?.available) return;
  await listen(session.samp.last, (event) => {
    const { pool } = document.getElementById("page").dataset;
    const left = event.pool === pool && current.module?.receive ? current.module.receive(event) : event;
    if (left) tellOf(left, pool, go);
  });
}

addEventListener("popstate", () => render());
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") { event.preventDefault(); return; }
  if (event.reason instanceof ApiError) { event.preventDefault(); notify(event.reason.message, { error: true, seconds: 0 }); }
});
render().then(hear);
