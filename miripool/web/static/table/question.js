// The box for a condition: completion of keywords and values, errors with their column, saved questions.

import { get, poolPath } from "../api.js";
import { askFor } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { forPage } from "../words.js";

const WORD = /[\w.\-]+$/;
const VALUE = /([\w.\-]+)(?:\s*[=!]=|\s+(?:like|in)\b\s*\(?)\s*(['"]?)([^'"]*)$/;
const TAG = /(?:^|\s|\()(['"])([^'"]*)$/;
const OPERATORS = new Set(["and", "or", "not", "in", "like", "is", "null", "between"]);
const WAIT = 150;

/**
 * Make the box.
 * @param {object} options - pool, where (the condition), ask(text) shows its answer, explain(text) how it is answered.
 * @returns {{element: HTMLElement, showError: Function, text: Function}}
 */
export function makeQuestion({ pool, where, ask, explain }) {
  const list = h("ul.completions", { id: "completions", role: "listbox", "aria-label": "Completions", hidden: true });
  const input = h("input.question", {
    id: "where", type: "text", value: where, spellcheck: "false", autocomplete: "off", role: "combobox",
    "aria-expanded": "false", "aria-controls": "completions", "aria-autocomplete": "list",
    placeholder: "a condition, e.g. ngroups >= 20 and detector == 'MIRIMAGE'",
  });
  const problem = h("div.problem", { role: "alert", hidden: true });
  const completion = makeCompletion(pool, input, list);
  const form = h("form.question", { role: "search", on: { submit: (event) => { event.preventDefault(); completion.close(); ask(input.value.trim()); } } },
    h("label", { for: "where" }, "Where"),
    h("span.combo", {}, input, list),
    h("button.primary", { type: "submit" }, "Find"),
    h("button", { type: "button", disabled: !where, on: { click: () => ask("") } }, "Clear"),
    h("button", { type: "button", title: "Show what answers each condition, and how many versions it leaves", on: { click: () => { problem.hidden = true; explain(input.value.trim()); } } }, "Explain"),
    savedQuestions(pool, input, ask));
  const showError = (error) => {
    problem.hidden = false;
    fill(problem, h("pre", {}, forPage(error.message)));
    if (error.column !== null && error.column !== undefined && error.text === input.value.trim()) {
      input.focus();
      input.setSelectionRange(error.column, error.column + 1);
    }
  };
  return { element: h("div", {}, form, problem), showError, text: () => input.value.trim() };
}

function makeCompletion(pool, input, list) {
  let entries = [];
  let chosen = -1;
  let timer = 0;
  let asked = 0;
  const close = () => { clearTimeout(timer); asked += 1; list.hidden = true; chosen = -1; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
  const take = (entry) => {
    const before = input.value.slice(0, entry.start);
    const after = input.value.slice(input.selectionStart);
    input.value = before + entry.text + after;
    const caret = before.length + entry.text.length;
    input.setSelectionRange(caret, caret);
    close();
    input.focus();
  };
  const mark = () => [...list.children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === chosen));
    if (i === chosen) { input.setAttribute("aria-activedescendant", item.id); item.scrollIntoView({ block: "nearest" }); }
  });
  const draw = () => {
    fill(list, entries.map((entry, i) => h("li", { id: `completion-${i}`, role: "option", "aria-selected": "false", on: { pointerdown: (event) => { event.preventDefault(); take(entry); } } },
      h("span.mono", {}, entry.text), entry.note ? h("span.faint", {}, ` ${entry.note}`) : null)));
    list.hidden = !entries.length;
    input.setAttribute("aria-expanded", String(Boolean(entries.length)));
    chosen = -1;
  };
  const look = async () => {
    const mine = ++asked;
    const text = input.value.slice(0, input.selectionStart);
    try {
      const found = await complete(pool, text);
      if (mine === asked && document.activeElement === input) { entries = found; draw(); }
    } catch {
      close(); // what is being typed may not be a keyword at all
    }
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, WAIT); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (list.hidden) { if (event.key === "ArrowDown" || (event.key === " " && event.ctrlKey)) { event.preventDefault(); look(); } return; }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + entries.length) % entries.length;
      mark();
    } else if ((event.key === "Enter" && chosen >= 0) || (event.key === "Tab" && !event.shiftKey)) { event.preventDefault(); take(entries[Math.max(0, chosen)]); } else if (event.key === "Escape") { event.preventDefault(); close(); }
  });
  return { close };
}

async function complete(pool, text) {
  const label = TAG.exec(text);
  if (label && !VALUE.test(text)) {
    const tags = (await get(poolPath(pool, "tags"))).map((tag) => tag.label).filter((tag) => tag.toLowerCase().startsWith(label[2].toLowerCase()));
    return tags.slice(0, 12).map((tag) => ({ text: `${quoted(tag)} in tags`, note: "tag", start: text.length - label[2].length - 1 }));
  }
  const value = VALUE.exec(text);
  if (value && !OPERATORS.has(value[1].toLowerCase())) {
    const [, key, quote, typed] = value;
    const values = await get(poolPath(pool, "keywords", key, "values"), { prefix: typed, limit: 12 });
    const start = text.length - typed.length - quote.length;
    return values.map((one) => ({ text: typeof one === "string" ? quoted(one) : String(one), note: key, start }));
  }
  const word = WORD.exec(text)?.[0] ?? "";
  if (word.length < 2 || OPERATORS.has(word.toLowerCase()) || /['"][^'"]*$/.test(text.replaceAll(/(['"]).*?\1/g, ""))) return [];
  const names = await get(poolPath(pool, "keywords"), { prefix: word, limit: 12 });
  return names.map((one) => ({ text: one.keyword, note: one.description ?? "", start: text.length - word.length }));
}

function storeKey(pool) {
  return `miripool questions of ${pool}`;
}

function readSaved(pool) {
  try {
    return JSON.parse(localStorage.getItem(storeKey(pool)) ?? "{}");
  } catch {
    return {};
  }
}

function savedQuestions(pool, input, ask) {
  const select = h("select", { "aria-label": "Saved questions" });
  const draw = () => {
    const names = Object.keys(readSaved(pool)).sort();
    fill(select, h("option", { value: "" }, names.length ? "Saved questions …" : "No saved questions"),
      names.map((name) => h("option", { value: `ask ${name}` }, name)),
      h("option", { value: "save" }, "Save this question …"),
      names.length ? h("option", { value: "forget" }, "Forget a question …") : null);
  };
  const store = (saved) => { localStorage.setItem(storeKey(pool), JSON.stringify(saved)); draw(); };
  select.addEventListener("change", () => {
    const wanted = select.value;
    select.value = "";
    const saved = readSaved(pool);
    if (wanted.startsWith("ask ")) ask(saved[wanted.slice(4)]);
    if (wanted === "save") {
      askFor("Save this question", [{ name: "name", label: "Name" }], "Save", async ({ name }) => {
        if (!name.trim()) throw new Error("Write a name.");
        if (!input.value.trim()) throw new Error("The condition is empty.");
        store({ ...saved, [name.trim()]: input.value.trim() });
      });
    }
    if (wanted === "forget") {
      askFor("Forget a question", [{ name: "name", label: "Question", choices: Object.keys(saved).sort(), only: true }], "Forget",
        async ({ name }) => { delete saved[name]; store(saved); });
    }
  });
  draw();
  return select;
}

/** Write a condition that a keyword has a value, for facets. */
export function equals(column, value) {
  if (value === null) return `${column} is null`;
  return `${column} == ${typeof value === "string" ? quoted(value) : value}`;
}

/** Write a text as a condition has it. */
function quoted(text) {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

/** Join two conditions. */
export function both(one, two) {
  if (!one) return two;
  const first = / or /.test(one) ? `(${one})` : one;
  return `${first} and ${two}`;
}
