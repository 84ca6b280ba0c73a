// Frames that were fetched are kept, the last few of them; questions for frames that nobody wants any more are ended.

export class FrameCache {
  /**
   * Keep frames.
   * @param {function(object, AbortSignal): Promise} ask - fetches what a wish (a plain object) describes.
   * @param {number} most - frames that are kept; a FULL frame has 4.2 MB.
   */
  constructor(ask, most = 12) {
    Object.assign(this, { ask, most, kept: new Map(), asked: new Map() });
  }

  /** Give what a wish describes; the same wish is never asked twice at a time. */
  get(wish) {
    const key = JSON.stringify(wish);
    if (this.kept.has(key)) {
      const found = this.kept.get(key);
      this.kept.delete(key);
      this.kept.set(key, found); // now the youngest
      return Promise.resolve(found);
    }
    return (this.asked.get(key) ?? this.start(key, wish)).promise;
  }

  /** Give what is kept for a wish, or undefined. */
  peek(wish) {
    return this.kept.get(JSON.stringify(wish));
  }

  /** Tell whether a wish needs no fetching. */
  has(wish) {
    return this.kept.has(JSON.stringify(wish));
  }

  start(key, wish) {
    const stop = new AbortController();
    const entry = { stop };
    this.asked.set(key, entry);
    entry.promise = this.ask(wish, stop.signal).then((found) => {
      this.kept.set(key, found);
      while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
      return found;
    }).finally(() => { if (this.asked.get(key) === entry) this.asked.delete(key); });
    return entry;
  }

  /** End all questions under way, but those for these wishes. */
  keepOnly(wishes) {
    const wanted = new Set(wishes.map((wish) => JSON.stringify(wish)));
    for (const [key, { stop }] of [...this.asked]) {
      if (wanted.has(key)) continue;
      this.asked.delete(key);
      stop.abort();
    }
  }

  /** Forget all. */
  clear() {
    this.keepOnly([]);
    this.kept.clear();
  }
}
