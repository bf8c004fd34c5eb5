// The live part of the compare page: controls, charts and the table of runs, kept fresh without Streamlit's help.

import { element, script, styles, swatch } from "./dom.js";
import { fieldsOf, figure, MEASURES, panelsOf, readZoom, style, writeZoom } from "./draw.js";
import { TargetPanel } from "./panel.js";
import { savePage, savePicture } from "./save.js";
import { StepsPanel } from "./steps.js";
import { Store } from "./store.js";
import { Table } from "./table.js";
import { Toolbar } from "./toolbar.js";

const mounted = new WeakMap(); // Streamlit calls again at every rerun, with the same host element

/** Show the component in its host; returns what to call when it goes. */
export default function mount(component) {
  const host = component.parentElement;
  let live = mounted.get(host);
  if (!live) {
    live = new Live(host, component.data.view);
    mounted.set(host, live);
  }
  live.update(component);
  return live.dispose;
}

class Live {
  constructor(host, view) {
    this.host = host;
    this.view = { ...view };
    this.paused = false;
    this.pending = new Map(); // run id -> what was asked of it just now
    this.dragging = false;
    this.root = element("section", { class: "bhf-live", "aria-label": "Live comparison" });
    this.banner = element("div", { class: "bhf-banner", role: "status", hidden: true });
    const bar = element("div", { class: "bhf-toolbar" });
    this.chart = element("div", {
      class: "bhf-chart", role: "application", tabindex: 0, onkeydown: (event) => this.steer(event),
      "aria-label": "Curves of the runs; the table below holds their values. Plus and minus zoom, the arrows move, 0 shows all",
    });
    this.note = element("p", { class: "bhf-note" });
    this.legend = element("div", { class: "bhf-legend", role: "group", "aria-label": "Curves" });
    const [table, steps, target] = [element("div", {}), element("div", { class: "bhf-target" }), element("div", { class: "bhf-target" })];
    this.root.append(bar, this.banner, this.legend, this.chart, this.note, table, steps, target);
    host.replaceChildren(this.root);
    this.toolbar = new Toolbar(bar, {
      set: (changes) => this.change(changes),
      pause: () => this.pause(),
      reset: () => this.change({ zoom: "" }),
      save: (format) => this.save(format),
      cancelAll: () => this.ask("cancel", ...this.open()),
    });
    this.table = new Table(table, {
      ask: (verb, id) => this.ask(verb, id),
      toggle: (key) => this.toggle(key),
      redraw: () => this.draw(),
      filter: (text) => this.change({ filter: text }),
    });
    this.comparing = [steps, target];
    this.steps = new StepsPanel(steps, (changes) => this.change(changes), () => this.draw());
    this.target = new TargetPanel(target, (changes) => this.change(changes));
    this.store = new Store(() => this.draw());
    this.dispose = () => this.stop();
    this.watch();
  }

  watch() {
    this.sizes = new ResizeObserver(() => this.resized());
    this.sizes.observe(this.root);
    this.chart.addEventListener("pointerdown", () => { this.dragging = true; }, true);
    this.released = () => {
      this.dragging = false;
      if (this.missed) this.draw();
    };
    window.addEventListener("pointerup", this.released);
    this.themes = new MutationObserver(() => this.repaint());
    this.themes.observe(document.head, { childList: true, subtree: true, characterData: true });
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.recoloured = () => setTimeout(() => this.draw(), 300);
    this.dark.addEventListener("change", this.recoloured);
  }

  stop() {
    this.store.stop();
    this.sizes.disconnect();
    this.themes.disconnect();
    this.dark.removeEventListener("change", this.recoloured);
    window.removeEventListener("pointerup", this.released);
    if (this.drawn) window.Plotly.purge(this.chart);
    mounted.delete(this.host);
  }

  update({ data, setStateValue, setTriggerValue }) {
    this.data = data;
    this.tell = { state: setStateValue, trigger: setTriggerValue };
    this.store.refresh = this.view.refresh;
    const ids = data.groups.flatMap((group) => group.runs.map((run) => run.id));
    this.store.expect(Math.max(0, ...data.groups.flatMap((group) => group.runs.map((run) => run.updates))));
    this.store.want(ids, data.experiments, fieldsOf(this.view));
    this.wantBlocks();
    this.store.zoomTo(this.view, readZoom(this.view.zoom).x);
    this.draw();
  }

  change(changes) {
    const zoom = readZoom(this.view.zoom);
    if ("x" in changes || "logX" in changes) delete zoom.x;
    Object.assign(this.view, { zoom: "logY" in changes ? writeZoom(zoom.x ? { x: zoom.x } : {}) : writeZoom(zoom) }, changes);
    this.store.refresh = this.view.refresh;
    this.store.want(this.store.ids, this.store.experiments, fieldsOf(this.view));
    this.wantBlocks();
    this.store.zoomTo(this.view, readZoom(this.view.zoom).x);
    if ("refresh" in changes) this.store.wake();
    this.draw();
    this.tell.state("view", { ...this.view });
  }

  wantBlocks() {
    const wanted = this.view.panels.some((name) => MEASURES[name]?.block);
    const firsts = this.data.groups.filter(({ kind }) => kind !== "adam").map(({ runs }) => runs[0].id);
    this.store.wantBlocks(wanted ? firsts : []);
  }

  toggle(key) {
    const { hidden } = this.view;
    this.change({ hidden: hidden.includes(key) ? hidden.filter((held) => held !== key) : [...hidden, key] });
  }

  pause() {
    this.paused = !this.paused;
    this.store.paused = this.paused;
    if (!this.paused) this.store.wake();
    this.draw();
  }

  /** The runs that have not ended. */
  open() {
    return this.store.ids.filter((id) => !["finished", "failed", "cancelled"].includes(this.store.runs.get(id)?.status));
  }

  /** Take over what the user zoomed to, or where the target's line was dragged to. */
  relayout(event) {
    const dragged = Object.entries(event).find(([name]) => /^shapes\[\d+\]\.y0$/.test(name));
    if (dragged) {
      this.change({ target: String(Number(dragged[1].toPrecision(4))) });
      return;
    }
    const full = this.chart._fullLayout;
    const zoom = {};
    if (full.xaxis.autorange === false && !full.xaxis.fixedrange) zoom.x = full.xaxis.range;
    panelsOf(this.view, this.data.accuracy).forEach((measure, panel) => {
      const axis = full[`yaxis${panel ? panel + 1 : ""}`];
      if (axis?.autorange === false && !axis.fixedrange) zoom[measure] = axis.range;
    });
    const text = writeZoom(zoom);
    if (text !== this.view.zoom) this.change({ zoom: text });
  }

  /** Zoom and move along the x axis by keys. */
  steer(event) {
    const axis = this.chart._fullLayout?.xaxis;
    const moves = { "+": [0.25, -0.25], "=": [0.25, -0.25], "-": [-0.5, 0.5], ArrowLeft: [-0.25, -0.25], ArrowRight: [0.25, 0.25] };
    if (event.key === "0") this.change({ zoom: "" });
    else if (moves[event.key] && axis && !axis.fixedrange && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const [low, high] = axis.range;
      const ends = [low, high].map((end, i) => end + moves[event.key][i] * (high - low));
      this.change({ zoom: writeZoom({ ...readZoom(this.view.zoom), x: ends }) });
    } else return;
    event.preventDefault();
  }

  save(format) {
    const done = format === "html" ? savePage(this.figure, this.theme, "Comparison") : savePicture(this.figure, this.theme, format);
    done.catch((error) => this.say(`The charts could not be saved: ${error.message}`));
  }

  ask(verb, ...ids) {
    for (const id of ids) this.pending.set(id, verb);
    this.tell.trigger("asked", `${verb}:${ids.join(",")}`);
    setTimeout(() => { for (const id of ids) this.pending.delete(id); }, 3000);
    this.draw();
    for (const later of [300, 1000, 3100, 8000]) setTimeout(() => this.store.wake(), later);
  }

  resized() {
    const width = Math.round(this.root.clientWidth);
    if (width && width !== this.width) {
      this.width = width;
      this.draw();
    }
  }

  draw() {
    if (!this.data) return;
    if (this.dragging) {
      this.missed = true;
      return;
    }
    this.missed = false;
    const theme = themeOf(this.root, this.data.colours);
    this.painted = JSON.stringify(theme);
    const shown = { groups: this.data.groups, store: this.store, view: this.view, theme };
    const { accuracy, groups } = this.data;
    this.toolbar.show(this.view, { paused: this.paused, seeded: groups.some((group) => group.runs.length > 1), accuracy, open: this.open().length });
    this.table.show({ ...shown, accuracy, pending: this.pending });
    this.drawLegend(shown);
    for (const part of this.comparing) part.hidden = !this.data.comparing;
    if (this.data.comparing) {
      this.steps.show({ ...shown, accuracy });
      shown.target = this.target.show({ ...shown, accuracy });
    }
    this.drawBanner();
    this.drawNote();
    this.plot(shown).catch((error) => this.say(`The chart could not be drawn: ${error.message}`));
  }

  /** Draw again if the page's colours are other ones: style sheets come and go for other reasons too. */
  repaint() {
    if (this.data && JSON.stringify(themeOf(this.root, this.data.colours)) !== this.painted) this.draw();
  }

  drawLegend({ groups, view, theme }) {
    const signature = JSON.stringify([groups.map(({ key, label, runs }) => [key, label, runs.length]), view.hidden, theme.text]);
    if (this.legend.dataset.signature === signature) return;
    this.legend.dataset.signature = signature;
    this.legend.replaceChildren(...groups.map((group) => {
      const { colour, dash } = style(group, theme);
      const count = group.runs.length > 1 ? element("em", {}, `${group.runs.length} ${group.unit}`) : null;
      return element(
        "button",
        { type: "button", class: "bhf-eye", "aria-pressed": !view.hidden.includes(group.key), title: "Show or hide", onclick: () => this.toggle(group.key) },
        swatch(colour, dash), element("span", {}, group.label), count,
      );
    }));
  }

  async plot(shown) {
    await script("/plotly.min.js");
    const { updatedAt, unreachableSince, problem } = this.store;
    if (!updatedAt && !unreachableSince && !problem) return; // the first picture is one with values
    const width = this.width || Math.round(this.root.clientWidth);
    if (!width || this.store.stopped) return;
    this.theme = shown.theme;
    this.figure = figure({ ...shown, store: this.store.shown, width, unit: this.data.lossUnit, accuracy: this.data.accuracy });
    this.figure.layout.width = width;
    const { updates } = this.root.dataset;
    const began = performance.now();
    const options = { displaylogo: false, responsive: false, displayModeBar: false, doubleClick: "autosize" };
    await window.Plotly.react(this.chart, this.figure.traces, { ...this.figure.layout }, options);
    if (!this.drawn) this.chart.on("plotly_relayout", (event) => this.relayout(event));
    this.drawn = true;
    this.root.dataset.drawn = updates;
    this.store.drawSeconds = (performance.now() - began) / 1000;
    this.root.dataset.redrawMs = String(Math.round(performance.now() - began));
    this.root.dataset.draws = String(1 + Number(this.root.dataset.draws ?? 0));
  }

  drawBanner() {
    const { unreachableSince, problem } = this.store;
    if (unreachableSince) {
      const since = unreachableSince.toLocaleTimeString();
      this.say(`The backend cannot be reached since ${since}. What arrived before is shown; trying again.`);
    } else this.say(problem);
  }

  say(text) {
    this.banner.hidden = !text;
    if (this.banner.textContent !== text) this.banner.textContent = text;
  }

  drawNote() {
    const { store } = this;
    const parts = [];
    if (!store.updatedAt) parts.push("Reading the runs \u2026");
    else if (store.ended) parts.push("All runs have ended.");
    else if (this.paused) parts.push("Paused.");
    else if (!this.view.refresh) parts.push("Refresh is off.");
    else parts.push("Live.");
    const { bucket } = store.shown;
    if (bucket > 1) parts.push(`One point is the mean of ${bucket} updates; where a band is drawn it holds their extremes.`);
    else parts.push("One point is one update.");
    if (store.updatedAt) parts.push(`Updated ${store.updatedAt.toLocaleTimeString()}.`);
    if (this.data.lossUnit && this.width < 480) parts.push(`Losses in ${this.data.lossUnit}.`);
    parts.push("Drag to zoom, double-click to zoom out; by keys: + and \u2212, arrows, 0.");
    const text = parts.join(" ");
    if (this.note.textContent !== text) this.note.textContent = text;
    this.root.dataset.updates = String(Math.max(0, ...[...store.cursors.values()].map((cursor) => cursor.after)));
    this.root.dataset.measures = Object.keys(MEASURES).length;
  }
}

function themeOf(node, colours) {
  const css = getComputedStyle(node);
  const value = (name, other) => css.getPropertyValue(name).trim() || other;
  const background = value("--st-background-color", "#ffffff");
  const mode = luminance(background) < 0.4 ? "dark" : "light";
  return {
    colours: colours[mode].optimizers,
    others: colours[mode].others,
    text: value("--st-text-color", "#222222"),
    muted: mode === "dark" ? "#a3adbb" : "#5a6473",
    border: value("--st-border-color", "#cccccc"),
    grid: mode === "dark" ? "#262e3a" : "#e8ebf0",
    background,
    surface: value("--st-secondary-background-color", "#ffffff"),
    font: css.fontFamily,
  };
}

function luminance(colour) {
  const hex = /^#([0-9a-f]{6})/i.exec(colour)?.[1];
  if (!hex) return 1;
  const part = (i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255;
  return 0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4);
}

script("/plotly.min.js").catch(() => {}); // said where it is needed
await styles("/assets/live.css");
