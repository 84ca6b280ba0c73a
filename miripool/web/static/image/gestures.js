// Pointer, wheel and touch on a canvas as zoom, pan, hover and pick. Places are CSS pixels from its corner.

/** A press that moves less than this, in CSS pixels, is a click. */
const CLICK = 4;
/** Zoom of one CSS pixel of the wheel; a notch of a mouse, 100 to 120, zooms by about 1.2. */
const WHEEL = 0.0017;

/**
 * Listen to a canvas until the signal ends.
 * @param {object} calls - zoom(factor, [left, top]), pan(dx, dy), hover([left, top]|null), pick([left, top]).
 */
export function listenToGestures(canvas, calls, signal) {
  const pressed = new Map();
  let moved = 0;
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const on = (name, listener, options = {}) => canvas.addEventListener(name, listener, { signal, ...options });

  on("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    const turned = Math.max(-300, Math.min(300, event.deltaY * lines)) * (event.ctrlKey ? 4 : 1); // Ctrl: a pinch on a touchpad
    calls.zoom(Math.exp(-turned * WHEEL), placeOf(event));
    calls.hover(placeOf(event));
  }, { passive: false });

  on("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, placeOf(event));
    if (pressed.size === 1) moved = 0;
  });

  on("pointermove", (event) => {
    const now = placeOf(event), before = pressed.get(event.pointerId);
    if (!before) return calls.hover(now);
    const step = Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (pressed.size === 1 && moved + step < CLICK) return undefined;
    moved += step;
    const others = [...pressed].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    pressed.set(event.pointerId, now);
    if (others.length) return pinch(calls, others[0], before, now);
    calls.pan(now[0] - before[0], now[1] - before[1]);
    return calls.hover(now);
  });

  const release = (event) => {
    const place = pressed.get(event.pointerId);
    pressed.delete(event.pointerId);
    if (event.type === "pointerup" && place && moved < CLICK && !pressed.size) calls.pick(placeOf(event));
    if (pressed.size) moved = CLICK; // the last finger of a pinch is no click
  };
  on("pointerup", release);
  on("pointercancel", release);
  on("pointerleave", () => { if (!pressed.size) calls.hover(null); });
}

/** One finger of two moved: zoom by how their distance changed, and pan by half of the move. */
function pinch(calls, other, before, now) {
  const distance = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
  calls.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  if (distance(before) > 10) calls.zoom(distance(now) / distance(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
}
