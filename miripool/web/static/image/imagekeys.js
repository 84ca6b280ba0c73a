// The keys of an image that has the focus.

/** CSS pixels that an arrow key moves the view by. */
const STRIDE = 60;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** Do what a key asks for. Keys with Ctrl, Alt or Meta are the browser's. */
export function handleKey(event, image, view) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const arrow = ARROWS[event.key];
  const done = arrow ? moved(arrow, event.shiftKey, image, view) : pressed(event.key, image, view);
  if (done) event.preventDefault();
}

function moved([right, up], shift, image, view) {
  if (!shift) {
    view.panBy(-right * STRIDE, up * STRIDE);
    return true;
  }
  const { mark } = image, frame = image.frames[0];
  if (!mark || !frame) return true;
  const next = { x: mark.x + right, y: mark.y + up };
  if (next.x < frame.x || next.x >= frame.x + frame.nx || next.y < frame.y || next.y >= frame.y + frame.ny) return true;
  view.reveal(next);
  image.pick(next);
  return true;
}

function pressed(key, image, view) {
  const todo = {
    "+": () => view.zoomBy(1.5), "=": () => view.zoomBy(1.5), "-": () => view.zoomBy(1 / 1.5), "0": () => image.fit(),
    "1": () => view.zoomTo(1), "[": () => image.stepNamed("group", -1), "]": () => image.stepNamed("group", 1),
    "{": () => image.stepNamed("integration", -1), "}": () => image.stepNamed("integration", 1), "b": () => image.blink(),
    "Enter": () => markMiddle(image, view), "Escape": () => image.unmark(),
  }[key];
  todo?.();
  return Boolean(todo);
}

function markMiddle(image, view) {
  const { width, height } = view.canvas;
  const pixel = view.pixelAt([width / 2 / view.ratio, height / 2 / view.ratio]);
  if (pixel) image.pick(pixel);
}
