// A figure from the backend, updated in place so that the zoom is kept and the page never shows two copies.

import { element, script } from "../dom.js";
import { axisOf, opacities, shapes } from "./brush.js";

const CONFIG = { displaylogo: false };
const BRUSHED = { ...CONFIG, displayModeBar: false, doubleClick: false, showTips: false };
const held = new WeakMap();

/** Draw the figure; redraw it if the data changed. */
export default function mount({ parentElement: host, data }) {
  const one = held.get(host) ?? new Figure(host);
  held.set(host, one);
  one.draw(data);
  return one.dispose;
}

class Figure {
  constructor(host) {
    this.box = element("div", { class: "bhf-figure", role: "figure" });
    this.zoomed = new Map();
    this.ranges = new Map(); // brushed ranges by axis
    this.clear = element("button", { type: "button", class: "bhf-show-all", hidden: true, onclick: () => this.brush(new Map()) }, "Show all runs");
    host.replaceChildren(this.box, this.clear);
    const sizes = new ResizeObserver(() => this.drawn && this.box.offsetParent && window.Plotly.Plots.resize(this.box));
    sizes.observe(host);
    this.dispose = () => {
      sizes.disconnect();
      held.delete(host);
      this.data = null;
      if (this.drawn) window.Plotly.purge(this.box);
    };
  }

  async draw(data) {
    const text = JSON.stringify(data);
    if (text === this.text) return;
    [this.text, this.data] = [text, data];
    const { alt, figure } = data;
    this.box.style.minHeight = `${figure.layout.height}px`;
    try {
      await script("/plotly.min.js");
    } catch {
      if (!this.drawn) this.box.textContent = "Loading the figure's script failed. Reload the page to try again.";
      this.text = null;
      return;
    }
    if (data !== this.data) return; // a newer one follows, or the figure was removed
    if (!this.drawn) this.box.replaceChildren();
    if (this.box.getAttribute("aria-label") !== alt) [this.zoomed, this.ranges].forEach((held) => held.clear()); // another figure
    this.box.setAttribute("aria-label", alt);
    this.given = figure.layout;
    const { data: traces, layout } = structuredClone(figure); // plotly changes both
    layout.font = { family: getComputedStyle(this.box).fontFamily, ...layout.font };
    for (const [axis, range] of this.zoomed) layout[axis] = { ...layout[axis], range };
    window.Plotly.react(this.box, traces, layout, data.brush ? BRUSHED : CONFIG);
    if (!this.drawn) this.listen(data.brush); // `on` exists after the first drawing
    this.drawn = true;
    if (data.brush) this.brush(this.ranges);
  }

  listen(brushed) {
    if (!brushed) {
      this.box.on("plotly_relayout", (event) => this.remember(event));
      return;
    }
    this.box.on("plotly_selected", (event) => {
      if (!event?.range) return;
      this.brush(new Map(this.ranges).set(axisOf(event.range.x, this.given.xaxis.tickvals.length), event.range.y));
    });
  }

  /** Show only the lines within the ranges, by axis. */
  brush(ranges) {
    this.ranges = ranges;
    this.clear.hidden = !ranges.size;
    const lines = this.data.figure.data;
    const colour = getComputedStyle(this.box).color;
    window.Plotly.update(this.box, { opacity: opacities(lines, ranges), selectedpoints: lines.map(() => null) }, { shapes: shapes(ranges, colour), selections: [] });
  }

  /** Keep the ranges that the user chose; the figure's own ranges come from the backend. */
  remember(event) {
    for (const key of Object.keys(event)) {
      const [, axis, what] = key.match(/^([xy]axis\d*)\.(range|autorange)/) ?? [];
      if (!axis) continue;
      const range = [...this.box._fullLayout[axis].range];
      if (what === "autorange" || String(range) === String(this.given[axis]?.range)) this.zoomed.delete(axis);
      else this.zoomed.set(axis, range);
    }
  }
}
