// Fingers on the charts: a vertical swipe scrolls the page, a sideways one reads values, two fingers zoom the x axis.

/**
 * The range of an axis after two fingers have moved: what was between them stays between them.
 * `axis` has range, offset and length [px] at the start; `from` and `to` are the fingers' middle and distance [px].
 */
export function pinched({ range: [low, high], offset, length }, from, to) {
  const scale = (high - low) / length;
  const middle = low + (from.middle - offset) * scale;
  const now = (scale * from.distance) / Math.max(1, to.distance);
  const start = middle - (to.middle - offset) * now;
  return [start, start + length * now];
}

export class Touch {
  /** `axis()` returns the x axis of plotly; `read(touch)` shows values, `zoom(range)` a range, `done(range)` ends a zoom. */
  constructor(node, { axis, read, unread, zoom, done }) {
    [this.node, this.axis, this.read, this.unread, this.zoom, this.done] = [node, axis, read, unread, zoom, done];
    const options = { capture: true, passive: false };
    node.addEventListener("touchstart", (event) => this.start(event), options);
    node.addEventListener("touchmove", (event) => this.move(event), options);
    for (const name of ["touchend", "touchcancel"]) node.addEventListener(name, (event) => this.end(event), options);
  }

  start(event) {
    event.stopPropagation(); // plotly would zoom, and the page could not be scrolled
    const axis = this.axis();
    if (event.touches.length !== 2 || !axis || axis.fixedrange) return;
    event.preventDefault();
    this.unread();
    this.held = { axis: { range: [...axis.range], offset: axis._offset, length: axis._length }, from: this.fingers(event) };
  }

  move(event) {
    if (!this.held) return this.read(event.touches[0]);
    event.preventDefault();
    if (event.touches.length !== 2) return undefined;
    this.range = pinched(this.held.axis, this.held.from, this.fingers(event));
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.held) this.zoom(this.range);
    });
    return undefined;
  }

  end(event) {
    if (event.type === "touchcancel") this.unread();
    if (!this.held || event.touches.length > 1) return;
    this.held = null;
    if (this.range) this.done(this.range);
    this.range = null;
  }

  fingers({ touches: [a, b] }) {
    const { left } = this.node.getBoundingClientRect();
    return { middle: (a.clientX + b.clientX) / 2 - left, distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) };
  }
}
