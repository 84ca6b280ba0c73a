// Dialogs: a question, a choice, a text to copy.

import { h } from "./dom.js";
import { forPage } from "./words.js";

/** Open a dialog with a title; gives the element and a function that closes it. */
export function openDialog(title, ...content) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const close = () => dialog.close();
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", on: { close: () => dialog.remove() } },
    h("div.row.title", {}, heading, h("span.grow"),
      h("button", { type: "button", "aria-label": "Close", on: { click: close } }, "×")),
    ...content);
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

/**
 * Ask for some values.
 * @param {string} title
 * @param {Array} fields - {name, label, value, choices (texts to suggest), only (nothing else), type, help, changed(value)}.
 * @param {string} button - what the button says.
 * @param {Node} [beside] - shown below the fields.
 * @param {(values: object) => Promise} submit - done with the values; an error is shown, and the dialog stays.
 */
export function askFor(title, fields, button, submit, beside = null) {
  const problem = h("div.problem", { role: "alert", hidden: true });
  const inputs = fields.map((field) => [field.name, makeInput(field)]);
  const form = h("form", { method: "dialog" },
    inputs.map(([, made]) => made.line), beside, problem,
    h("div.row.buttons", {}, h("span.grow"),
      h("button", { type: "button", on: { click: () => close() } }, "Cancel"),
      h("button.primary", { type: "submit" }, button)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await submit(Object.fromEntries(inputs.map(([name, made]) => [name, made.read()])));
      close();
    } catch (error) {
      problem.hidden = false;
      problem.textContent = forPage(error.message);
    }
  });
  const { close } = openDialog(title, form);
  inputs[0]?.[1].input.focus();
}

function makeInput({ name, label, value = "", choices = null, only = false, type = "text", help = null, changed = null }) {
  const id = `field-${name}`;
  if (type === "checkbox") {
    const input = h("input", { id, type, checked: Boolean(value), on: changed ? { change: () => changed(input.checked) } : {} });
    return { input, read: () => input.checked, line: h("p", {}, h("label", { for: id }, input, ` ${label}`)) };
  }
  let input;
  const extra = [];
  if (only) {
    input = h("select", { id }, choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)));
  } else {
    input = h("input", { id, type: "text", value, autocomplete: "off", list: choices ? `${id}-list` : null });
    if (choices) extra.push(h("datalist", { id: `${id}-list` }, choices.map((choice) => h("option", { value: choice }))));
  }
  const line = h("p.field", {}, h("label", { for: id }, label), input, extra, help ? h("small.faint", {}, help) : null);
  return { input, read: () => input.value, line };
}

/** Show a text to be copied: a command, a line of Python. */
export function showText(title, text, words = null) {
  openDialog(title, words ? h("p", {}, words) : null, copyable(text));
}

/** A text with a button that copies it. */
export function copyable(text, label = "") {
  const code = h("code", { tabindex: "0" }, text);
  return h("div.copyable", {}, label ? h("span.faint", {}, label) : null, code, copyButton(code, label));
}

/** A button that copies the text of an element; where the browser forbids it, it selects the text for the keyboard. */
export function copyButton(element, label = "") {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(element.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(element);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const button = h("button", { type: "button", "aria-label": label ? `Copy: ${label}` : null, on: { click: copy } }, "Copy");
  return button;
}
