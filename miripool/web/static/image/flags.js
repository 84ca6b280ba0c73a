// DQ flags of a frame's pixels: their names, how many pixels have each, and the overlay that colours them. No page here.

/** Colours of the flags that MIRI's products have most often; they differ from each other and from the colours of NaN. */
const COLOURS = {
  DO_NOT_USE: "#f0483e", SATURATED: "#ffd21f", JUMP_DET: "#35c5f5", DROPOUT: "#b07a4a", OUTLIER: "#ff9a3d", DEAD: "#4f74ff",
  HOT: "#86e03c", WARM: "#c9a4ff", LOW_QE: "#2f8f5b", NO_SAT_CHECK: "#8fd7c4", REFERENCE_PIXEL: "#ec4fd8",
};

/** Give the flags as [{ name, value, bit, colour }], lowest bit first, from { name: value }. */
export function flagList(values) {
  return Object.entries(values)
    .filter(([, value]) => value > 0 && Number.isInteger(Math.log2(value)))
    .map(([name, value]) => ({ name, value, bit: Math.log2(value), colour: COLOURS[name] ?? colourOf(Math.log2(value)) }))
    .sort((a, b) => a.bit - b.bit);
}

/** Give the colour of a bit without one of its own as "#rrggbb": hues a golden angle apart, so that neighbouring bits differ most. */
function colourOf(bit) {
  const hue = (bit * 137.508 + 20) % 360, light = bit % 2 ? 0.62 : 0.5, spread = 0.95 * Math.min(light, 1 - light);
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - spread * Math.max(-1, Math.min(k - 3, 9 - k, 1)))).toString(16).padStart(2, "0");
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}

/** Join frames of flags of the same pixels, e.g. GROUPDQ and PIXELDQ: the bits of any of them. */
export function joined(frames) {
  if (frames.length === 1) return frames[0];
  const all = new Uint32Array(frames[0].length);
  for (const frame of frames) for (let i = 0; i < all.length; i++) all[i] |= frame[i];
  return all;
}

/** Give the frame that shows a flag (a value of one bit; null: any flag): 1 where it is set; minus that of a second frame. */
export function flagFrame(flags, value, second = null) {
  const made = new Float32Array(flags.length), mask = value ?? 0xffffffff;
  for (let i = 0; i < flags.length; i++) made[i] = flags[i] & mask ? 1 : 0;
  if (second) for (let i = 0; i < flags.length; i++) made[i] -= second[i] & mask ? 1 : 0;
  return made;
}

/** What the ends of the colour bar of a frame of flags mean. */
export function flagWords(mode, symmetric) {
  if (mode === "difference") return ["only in the second", "in both or none", "only in the first"];
  return symmetric ? ["", "not set", "set"] : ["not set", "set"];
}

/** Count the pixels that have each bit: 32 numbers. */
export function countBits(flags) {
  const counts = new Array(32).fill(0);
  for (let i = 0; i < flags.length; i++) {
    let left = flags[i];
    while (left) {
      const lowest = left & -left;
      counts[31 - Math.clz32(lowest)]++;
      left = (left ^ lowest) >>> 0;
    }
  }
  return counts;
}

/** Name the flags of one pixel's value; a bit without a name is "bit N". */
export function namesOf(value, list) {
  const names = [];
  for (let bit = 0; bit < 32; bit++) {
    if ((value >>> bit) & 1) names.push(list.find((flag) => flag.bit === bit)?.name ?? `bit ${bit}`);
  }
  return names;
}

/** Give the overlay's packed colours, shape (ny, nx), row 0 lowest; 0 is clear. The first chosen flag of a pixel shows. */
export function overlayOf(flags, chosen) {
  const made = new Uint32Array(flags.length);
  const colours = new Uint32Array(32);
  let mask = 0;
  for (const { bit, colour } of chosen) {
    mask |= 1 << bit;
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    colours[bit] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }
  const order = chosen.map(({ bit }) => bit);
  for (let i = 0; i < flags.length; i++) {
    const found = flags[i] & mask;
    if (found) made[i] = colours[order.find((bit) => (found >>> bit) & 1)];
  }
  return made;
}
