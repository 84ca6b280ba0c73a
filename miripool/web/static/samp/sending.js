// Sending to programs on this desktop by SAMP: what menus offer, and the dialog that chooses a program or waits for one.
// A parcel is what can be sent: { text, takes: "images" or "tables", path, body, name }; `text` says what it is, `name` is
// the short form that menus and buttons have.

import { change, get, poolPath } from "../api.js";
import { openDialog } from "../dialogs.js";
import { fill, h, notify } from "../dom.js";
import { counted, serialOf } from "../words.js";

const MOST_IMAGES = 32;
/** Milliseconds between two looks for programs that have started meanwhile. */
const LOOK = 1000;
const USUAL = { images: "DS9", tables: "TOPCAT" };
const LATE = "A DS9 that was running before may not notice: press Open DS9, or choose File > SAMP > Connect there.";

/** Tell whether this server sends at all: one that serves others has no desktop. */
export function canSend(session) {
  return Boolean(session.samp);
}

/** Give the entries of a menu for parcels. @param {Array} parcels - null for those that do not suit. */
export function sendItems(pool, parcels, session) {
  if (!canSend(session)) return [];
  if (!session.samp.available) return [{ label: `Send to DS9 or TOPCAT (needs ${session.samp.install})`, disabled: true }];
  const there = parcels.filter(Boolean);
  const direct = there.flatMap((parcel) => [
    { label: parcel.name, act: () => sendToUsual(pool, parcel) },
    ...(parcel.takes === "images" && parcel.body.serials.length === 2 ? [{ label: "Open both in DS9 (blink)", act: () => openInDs9(pool, parcel) }] : []),
  ]);
  return there.length ? [...direct, { label: "Send to …", act: () => chooseProgram(pool, there) }] : [];
}

/** Give a button that sends one parcel to the usual program; null where this server sends nothing. */
export function sendButton(pool, parcel, session) {
  if (!canSend(session)) return null;
  const { available, install } = session.samp;
  return h("button", { type: "button", disabled: !available, title: available ? null : `This needs ${install}`, on: { click: () => sendToUsual(pool, parcel) } }, parcel.name);
}

/** Give what can be sent of versions chosen in a list. */
export function parcelsOf(rows) {
  const withImage = rows.filter(({ kind }) => kind !== "Exposure" && kind !== "Context");
  const one = rows.length === 1 ? `${rows[0].kind}/${rows[0].name} version ${rows[0].version}` : null;
  return [
    withImage.length === rows.length && rows.length <= MOST_IMAGES ? imageParcel(rows.map(({ urn }) => serialOf(urn)), one ?? counted(rows.length, "version")) : null,
    tableParcel(rows, one),
  ];
}

/** Give the images of versions as a parcel: of a dataset, or of SCI. */
export function imageParcel(serials, of, { dataset = null, name = null } = {}) {
  const text = `${serials.length > 1 ? "the images" : "the image"} of ${of}`;
  return { text, takes: "images", path: "images", body: { serials, dataset }, name: name ?? `Send ${counted(serials.length, "image").replace(/^1 /, "")} to DS9` };
}

function tableParcel(rows, one) {
  const text = one ? `a table with the row of ${one}` : `a table of ${counted(rows.length, "version")}`;
  return { text, takes: "tables", path: "versions", body: { serials: rows.map(({ urn }) => serialOf(urn)) }, name: "Send table to TOPCAT" };
}

function matching(clients, { takes }, wanted) {
  return clients.filter((client) => client[takes] && client.name.toLowerCase().includes(wanted.toLowerCase()));
}

/** Send to DS9 or TOPCAT, if one of them listens; else show which programs do, and wait for it. */
async function sendToUsual(pool, parcel) {
  const wanted = USUAL[parcel.takes];
  const close = notify(`Looking for ${wanted} …`, { seconds: 0 }); // a hub starts in a second or two
  const { clients } = await change("api/samp/connect").finally(close);
  const [only, ...others] = matching(clients, parcel, wanted);
  if (only && !others.length) await deliver(pool, parcel, only);
  else chooseProgram(pool, [parcel], only ? null : wanted);
}

function deliver(pool, { path, body, text, takes }, client) {
  return report(`Sending ${text} to ${client.name} …`, async () => {
    const { sent, total } = await change(poolPath(pool, "send", path), { ...body, to: client.id });
    const counts = takes === "images" ? "" : `: ${counted(sent, "row")}${total > sent ? ` of ${total.toLocaleString("en")}` : ""}`;
    return `${client.name} has ${text}${counts}.`;
  });
}

/** Have DS9 show images, in turns if there are two; it is started if it is not open. */
function openInDs9(pool, { body, text }) {
  return report(`DS9 is opening ${text} …`, async () => {
    await change(poolPath(pool, "open"), body);
    return `DS9 shows ${text}.`;
  });
}

/** Say that something is under way, and then what came of it. */
async function report(words, work) {
  const close = notify(words, { seconds: 0 });
  try {
    notify(await work());
  } catch (error) {
    notify(error.message, { error: true, seconds: 0 });
  } finally {
    close();
  }
}

/**
 * Show the programs that listen, and send to the chosen one.
 * @param {string|null} wanted - name of the program that is waited for: what is to be sent goes there as soon as it listens.
 */
export async function chooseProgram(pool, parcels, wanted = null) {
  const list = h("div.programs", { role: "status" }, h("p.waiting", {}, "Looking for programs …"));
  const choice = { parcel: parcels[0], clients: [] };
  const send = (client) => { close(); deliver(pool, choice.parcel, client); };
  const start = () => { close(); openInDs9(pool, choice.parcel); };
  const draw = () => fill(list, programs(choice, wanted, send, start));
  const kinds = parcels.length > 1 ? h("fieldset", {}, h("legend", {}, "What"), parcels.map((parcel, i) => h("label", {},
    h("input", { type: "radio", name: "parcel", checked: i === 0, on: { change: () => { choice.parcel = parcel; draw(); } } }), ` ${parcel.text}`))) : null;
  const { dialog, close } = openDialog(wanted ? `Waiting for ${wanted}` : "Send to", kinds ?? (wanted ? null : h("p", {}, `What: ${parcels[0].text}.`)), list);
  let known = "";
  const look = async (ask) => {
    try {
      choice.clients = (await ask()).clients;
      const [found] = wanted ? matching(choice.clients, choice.parcel, wanted) : [];
      if (found && dialog.open) { send(found); return; }
      const seen = JSON.stringify(choice.clients);
      if (seen !== known) draw(); // else the focus would be lost each time
      known = seen;
    } catch (error) {
      fill(list, h("p.problem", { role: "alert" }, error.message));
    }
    if (dialog.open) setTimeout(() => { if (dialog.open) look(() => get("api/samp")); }, LOOK);
  };
  await look(() => change("api/samp/connect"));
}

function programs({ parcel, clients }, wanted, send, start) {
  const { takes } = parcel, taking = clients.filter((client) => client[takes]);
  const others = clients.filter((client) => !client[takes]).map(({ name }) => name);
  const waited = wanted ?? (takes === "images" ? "DS9 or Aladin" : "TOPCAT");
  const words = wanted ? `${wanted} does not listen yet. Start it: ${parcel.text} will go there as soon as it listens.`
    : `No program listens that takes ${takes}. Start ${waited}; miripool waits for it.`;
  return [
    wanted || !taking.length ? [h("p", {}, words), takes === "images" ? [h("p", {}, h("button", { type: "button", on: { click: start } }, "Open DS9")), h("p.faint", {}, LATE)] : null] : null,
    taking.length ? h("ul", {}, taking.map((client) => h("li", {}, h("button", { type: "button", on: { click: () => send(client) } }, `Send to ${client.name}`)))) : null,
    others.length ? h("p.faint", {}, `These listen too, but take no ${takes}: ${others.join(", ")}.`) : null,
  ];
}
