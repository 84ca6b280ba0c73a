// Elements of the page. Text always goes in as text, so names from a pool can hold any character.

/**
 * Make an element.
 * @param {string} tag - its name; classes may follow, as in "td.number".
 * @param {object} [options] - attributes; `on` holds event listeners by name, `data` the dataset. An attribute that is
 *   null, undefined or false is left out.
 * @param {...(Node|string|number|null|Array)} children - null is left out.
 * @returns {HTMLElement}
 */
export function h(tag, options = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

/** Show a sentence for some seconds, with a button where there is something to do about it. */
export function notify(text, { action = null, label = "", error = false, seconds = 12 } = {}) {
  const box = document.getElementById("notices");
  const notice = h(error ? "div.notice.error" : "div.notice", { role: error ? "alert" : null }, h("span", {}, text));
  const close = () => notice.remove();
  if (action !== null) {
    notice.append(h("button", { type: "button", on: { click: () => { close(); action(); } } }, label));
  }
  notice.append(h("button.close", { type: "button", "aria-label": "Close this notice", on: { click: close } }, "×"));
  box.append(notice);
  if (seconds) setTimeout(close, seconds * 1000);
  return close;
}

/** A link that changes the state of the page; a click with a modifier opens it as the browser does. */
export function stateLink(text, state, go, options = {}) {
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(state);
  };
  return h("a", { href: `?${toQuery(state)}`, ...options, on: { click: follow } }, text);
}

/** Write a state as the query of a URL; what is empty is left out. */
export function toQuery(state) {
  const made = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (value !== null && value !== undefined && value !== "" && value !== false) made.set(key, String(value));
  }
  return made.toString();
}
