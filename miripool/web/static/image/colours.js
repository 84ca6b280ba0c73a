// Colour maps: 256 colours between few anchors, and the tables that turn a value's place between limits into a colour.

/** Anchors at equal distances, as RRGGBB, from the low to the high end; `nan` is a colour that the map does not hold. */
const MAPS = {
  grey: { text: "grey", anchors: "000000 ffffff", nan: "2a9d9a", nanName: "teal" },
  viridis: {
    text: "viridis", nan: "9a9a9a", nanName: "grey",
    anchors: "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
  },
  magma: {
    text: "magma", nan: "2a9d9a", nanName: "teal",
    anchors: "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
  },
  inferno: {
    text: "inferno", nan: "2a9d9a", nanName: "teal",
    anchors: "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
  },
  cividis: {
    text: "cividis", nan: "c0392b", nanName: "red",
    anchors: "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
  },
  difference: {
    text: "blue–red", nan: "6b8f3c", nanName: "green", symmetric: true,
    anchors: "0a2a6b 2f6cc0 9cc3ec ffffff f2ab98 cf4136 750d18",
  },
};
const INVERTED = "-inverted";

/** Places between the limits that a table tells apart; a log stretch needs more than 256 at its low end. */
const STEPS = 16384;

/** Names of the maps, with what people read. */
export const COLOURS = Object.entries(MAPS).map(([name, map]) => [name, map.text]);

/** Tell a map's name, e.g. "grey-inverted", apart: { name, inverted, symmetric, nan: "#rrggbb", nanName }. */
export function mapOf(text) {
  const inverted = String(text).endsWith(INVERTED);
  const wanted = inverted ? text.slice(0, -INVERTED.length) : text;
  const name = Object.hasOwn(MAPS, wanted) ? wanted : "grey";
  const map = MAPS[name];
  return { name, inverted, symmetric: map.symmetric ?? false, nan: `#${map.nan}`, nanName: map.nanName };
}

/** Write a map's name, with whether it is inverted. */
export function mapName(name, inverted) {
  return inverted ? name + INVERTED : name;
}

/** Give the 256 colours of a map as [red, green, blue], 0 to 255, from the low to the high end. */
export function colours256(text) {
  const { name, inverted } = mapOf(text);
  const anchors = MAPS[name].anchors.split(" ").map(parts);
  const made = Array.from({ length: 256 }, (_, i) => between(anchors, i / 255));
  return inverted ? made.reverse() : made;
}

function parts(hex) {
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function between(anchors, t) {
  const at = t * (anchors.length - 1), low = Math.min(Math.floor(at), anchors.length - 2);
  return anchors[low].map((c, i) => Math.round(c + (anchors[low + 1][i] - c) * (at - low)));
}

/** Pack a colour as a canvas keeps it in a little-endian Uint32: alpha, blue, green, red. */
export function packed([red, green, blue], alpha = 255) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Pack "#rrggbb". */
export function packedHex(hex, alpha = 255) {
  return packed(parts(hex.slice(1)), alpha);
}

/** Give the table of packed colours by a value's place between the limits, stretched by `there`. */
export function lookupTable(text, there) {
  const colours = colours256(text).map((c) => packed(c));
  const table = new Uint32Array(STEPS);
  for (let i = 0; i < STEPS; i++) {
    table[i] = colours[Math.min(255, Math.max(0, Math.floor(256 * there((i + 0.5) / STEPS))))];
  }
  return table;
}
