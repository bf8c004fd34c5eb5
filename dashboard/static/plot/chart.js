// The charts in plotly: drawn in place, zoomed by mouse and keyboard, saved. The view stores the zoom.

import { element, script } from "../dom.js";
import { figure } from "./draw.js";
import { Crosshair } from "./crosshair.js";
import { panelsOf } from "../store/measures.js";
import { savePage, savePicture, SIZES, tablesOf } from "./save.js";
import { Touch } from "./touch.js";
import { readZoom, writeZoom } from "./zoom.js";

const OPTIONS = { displaylogo: false, responsive: false, displayModeBar: false, doubleClick: false, showTips: false, edits: { shapePosition: true } };
const ENDS = ["pointerup", "pointercancel"]; // a browser that begins to scroll cancels a press
const MOVES = { "+": [0.25, -0.25], "=": [0.25, -0.25], "-": [-0.5, 0.5], ArrowLeft: [-0.25, -0.25], ArrowRight: [0.25, 0.25] };

export class Chart {
  /**
   * `change(changes of the view)` reports a zoom or drag; `redraw()` is called after a drag that delayed a drawing;
   * `near(group)` is called with the group of the curve at the pointer, or null.
   */
  constructor({ change, redraw, near }) {
    this.change = change;
    this.dragging = false;
    this.node = element("div", {
      class: "bhf-chart", id: "bhf-chart", role: "application", tabindex: 0, onkeydown: (event) => this.steer(event),
      "aria-label": "Curves of the runs; the table below has their values. Plus and minus zoom, arrows move, 0 resets",
    });
    this.box = element("div", { class: "bhf-chart-box" }, this.node);
    this.crosshair = new Crosshair(this.box, this.node, near);
    this.node.addEventListener("pointerdown", () => { this.dragging = true; }, true);
    this.touch = new Touch(this.node, {
      axis: () => this.node._fullLayout?.xaxis,
      read: (touch) => this.crosshair.move(touch),
      unread: () => this.crosshair.hide(),
      zoom: (range) => this.pinch(range),
      done: (range) => this.pinchEnd(range),
    });
    this.released = () => {
      this.dragging = false;
      if (this.missed) redraw();
    };
    for (const name of ENDS) window.addEventListener(name, this.released);
  }

  dispose() {
    this.gone = true;
    for (const name of ENDS) window.removeEventListener(name, this.released);
    if (this.drawn) window.Plotly.purge(this.node);
  }

  /** Whether a drawing must wait because it would interrupt a drag; it follows afterwards. */
  get held() {
    this.missed = this.dragging || Boolean(this.pinching);
    return this.missed;
  }

  /** Draw the data in `shown`; return the duration in milliseconds. */
  async draw(shown) {
    [this.view, this.accuracy, this.theme, this.asked] = [shown.view, shown.accuracy, shown.theme, shown];
    this.figure = figure(shown);
    this.figure.layout.width = shown.width;
    const zoomed = readZoom(this.view.zoom); // plotly changes the layout: remember the ranges that nobody chose
    this.given = panelsOf(this.view, this.accuracy).map((measure, panel) => {
      return zoomed[measure] ? "" : String(this.figure.layout[`yaxis${panel ? panel + 1 : ""}`].range);
    });
    this.givenX = zoomed.x ? "" : String(this.figure.layout.xaxis?.range);
    const began = performance.now();
    await window.Plotly.react(this.node, this.figure.traces, { ...this.figure.layout }, OPTIONS);
    if (!this.drawn) {
      this.node.on("plotly_relayout", (event) => this.relayout(event));
      this.node.on("plotly_doubleclick", () => this.change({ zoom: "" }));
    }
    this.crosshair.shown = { panels: this.figure.panels, view: this.view };
    this.light(this.lit);
    this.drawn = true;
    return performance.now() - began;
  }

  /** Fade every curve but those of a group; with null show all as they are. */
  light(group) {
    this.lit = group;
    for (const node of this.node.querySelectorAll(".scatterlayer .trace")) {
      const trace = this.figure?.traces[node.__data__?.[0]?.trace?.index];
      if (!trace) continue;
      const faded = group && trace.bhf?.group && trace.bhf.group !== group;
      node.style.opacity = faded ? "0.12" : String(trace.opacity ?? 1);
    }
  }

  /** The figure at another width; null keeps the screen's. */
  sized(width) {
    if (!width) return this.figure;
    const drawn = figure({ ...this.asked, width });
    drawn.layout.width = width;
    return drawn;
  }

  pinch(range) {
    this.pinching = true;
    window.Plotly.relayout(this.node, { "xaxis.range": range });
  }

  pinchEnd(range) {
    this.pinching = false;
    this.change({ zoom: writeZoom({ ...readZoom(this.view.zoom), x: range }) });
  }

  /** Report the zoomed ranges, or the dragged target. */
  relayout(event) {
    if (this.pinching) return;
    const dragged = Object.entries(event).find(([name]) => /^shapes\[\d+\]\.y[01]$/.test(name));
    if (dragged) {
      this.change({ target: String(Number(dragged[1].toPrecision(4))) });
      return;
    }
    const full = this.node._fullLayout;
    const zoom = {};
    if (full.xaxis.autorange === false && !full.xaxis.fixedrange && String(full.xaxis.range) !== this.givenX) zoom.x = full.xaxis.range;
    panelsOf(this.view, this.accuracy).forEach((measure, panel) => {
      const axis = full[`yaxis${panel ? panel + 1 : ""}`];
      if (axis?.autorange === false && !axis.fixedrange && String(axis.range) !== this.given[panel]) zoom[measure] = axis.range;
    });
    const text = writeZoom(zoom);
    if (text !== this.view.zoom) this.change({ zoom: text });
  }

  /** Zoom and move along the x axis by keys. */
  steer(event) {
    const axis = this.node._fullLayout?.xaxis;
    if (event.key === "0") this.change({ zoom: "" });
    else if (MOVES[event.key] && axis && !axis.fixedrange && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const [low, high] = axis.range;
      const ends = [low, high].map((end, i) => end + MOVES[event.key][i] * (high - low));
      this.change({ zoom: writeZoom({ ...readZoom(this.view.zoom), x: ends }) });
    } else return;
    event.preventDefault();
  }

  /** Save the charts as "png" or "svg", or as "html" with the page's tables and a note. */
  async save(format, { title, note, size }) {
    await script("/plotly.min.js");
    if (format !== "html") return savePicture(this.sized(SIZES[size]), this.theme, format, title);
    const page = this.node.closest('[data-testid="stMain"]') ?? document.body;
    return savePage(this.figure, this.theme, { title, note, tables: tablesOf(page) });
  }
}
