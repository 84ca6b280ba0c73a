// Frames that play one after the other along an axis, between the limits of the first of them.

/** Milliseconds between two frames; one that takes longer to come is waited for. */
const PACE = 100;

export class Player {
  /** @param {object} image - the view: step(axis, by, around), syncControls(), colour(), limits, problem, signal. */
  constructor(image) {
    Object.assign(this, { image, axis: null, limits: null, timer: 0 });
  }

  /** Play along an axis, or stop if it plays. The limits stay while it plays, so that a ramp is seen to rise. */
  toggle(axis) {
    clearTimeout(this.timer);
    this.axis = this.axis === axis ? null : axis;
    this.limits = this.axis === null ? null : this.image.limits;
    this.image.syncControls();
    if (this.axis === null) this.image.colour();
    else this.wait(PACE);
  }

  wait(pause) {
    this.timer = setTimeout(() => this.next(), Math.max(0, pause));
  }

  async next() {
    const { axis, image } = this, begun = performance.now();
    await image.step(axis, 1, true);
    if (image.signal.aborted || this.axis !== axis) return;
    if (image.problem.hidden) this.wait(PACE - (performance.now() - begun));
    else this.toggle(axis); // a problem ends it
  }

  end() {
    clearTimeout(this.timer);
    this.axis = null;
  }
}
