// The live part of the compare and run pages: controls, charts and tables, updated without a run of the page's script.

import { Chart } from "./plot/chart.js";
import { element, put, script, styles } from "./dom.js";
import { picked } from "./store/filter.js";
import { Lecture } from "./panels/lecture.js";
import { Leaderboard } from "./panels/leaderboard.js";
import { Legend } from "./panels/legend.js";
import { LogPanel } from "./panels/log.js";
import { drawBest, drawFailures, drawStrip } from "./panels/strip.js";
import { describe, fieldsOf, MEASURES } from "./store/measures.js";
import { TargetPanel } from "./panels/target_panel.js";
import { ValuesPanel } from "./panels/values_panel.js";
import { ranking } from "./store/ranking.js";
import { Store } from "./store/store.js";
import { Table } from "./panels/table.js";
import { pace, progressOf } from "./store/progress.js";
import { DASHES, LECTURE, themeOf } from "./plot/theme.js";
import { RunsHead, Toolbar } from "./panels/toolbar.js";
import { readZoom, writeZoom } from "./plot/zoom.js";

const MOST_NAMED = 6; // configurations; of more, a leaderboard ranks them instead of the answer in words
const WIDE = 700; // of a window in which a lecture's text is large [px]; a phone's stays as it is
const PACE_SECONDS = 60; // over which the time left is estimated
const mounted = new WeakMap(); // Streamlit calls mount at every rerun with the same host element

/** Show the component in its host; return the function that removes it. */
export default function mount(component) {
  const host = component.parentElement;
  describe(component.data.measures);
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
    this.pending = new Map(); // run id -> the action that was requested just now
    this.root = element("section", { class: "bhf-live", "aria-label": "Live comparison" });
    this.banner = element("div", { class: "bhf-banner", role: "status", hidden: true });
    this.chart = new Chart({ change: (changes) => this.change(changes), redraw: () => this.draw(), near: (group) => this.light(group) });
    this.note = element("p", { class: "bhf-note" });
    this.failures = element("div", { class: "bhf-failures", hidden: true });
    this.strip = element("p", { class: "bhf-strip", hidden: true });
    this.samples = []; // {at, seconds}: training seconds of all runs at seconds of the clock
    this.build();
    host.replaceChildren(this.root);
    this.store = new Store(() => this.draw());
    this.dispose = () => this.stop();
    this.watch();
  }

  build() {
    const set = (changes) => this.change(changes);
    const row = (kind) => element("div", { class: kind });
    const [bar, legend, rankingBox, head, table] = ["bhf-toolbar", "bhf-legend", "bhf-target", "bhf-row bhf-filter", ""].map(row);
    const [steps, target, log] = ["bhf-target", "bhf-target", "bhf-target"].map(row);
    legend.setAttribute("role", "group");
    legend.setAttribute("aria-label", "Curves");
    this.count = element("summary", {});
    this.fold = element("details", { class: "bhf-fold", open: true }, this.count, head, table);
    this.lecture = new Lecture(this.root, { set, freeze: () => this.pause() });
    this.toolbar = new Toolbar(bar, {
      set,
      present: () => this.lecture.enter(),
      pause: () => this.pause(),
      reset: () => this.change({ zoom: "" }),
      save: (format, size) => this.save(format, size),
    });
    this.root.append(
      this.lecture.head, bar, this.banner, this.failures, this.strip, this.chart.box, this.lecture.foot, this.toolbar.fullButton, legend, this.note, rankingBox, this.fold,
      target, steps, log,
    );
    this.head = new RunsHead(head, set, () => this.ask("cancel", ...this.open()));
    this.table = new Table(table, { ask: (verb, id) => this.ask(verb, id), toggle: (key) => this.toggle(key), set });
    [this.comparing, this.alone] = [[head, target, steps], [log]];
    this.legend = new Legend(legend, (key) => this.toggle(key));
    this.ranking = new Leaderboard(rankingBox, { toggle: (key) => this.toggle(key), only: (key) => this.only(key) });
    [this.legendBox, this.rankingBox] = [legend, rankingBox];
    this.values = new ValuesPanel(steps, set, () => this.draw());
    this.target = new TargetPanel(target, set);
    this.log = new LogPanel(log);
    const group = (node) => node.closest?.("[data-group]")?.dataset.group ?? null;
    this.root.addEventListener("pointerover", ({ target: node }) => node.closest(".bhf-chart-box") || this.light(group(node)));
    this.root.addEventListener("pointerleave", () => this.light(null));
    this.root.addEventListener("focusin", ({ target: node }) => this.light(group(node)));
    this.root.addEventListener("focusout", () => this.light(null));
  }

  /** Highlight a group's curves and rows everywhere; with null nothing. */
  light(group) {
    if (group === this.lit) return;
    this.lit = group;
    this.markLit();
    this.chart.light(group);
  }

  markLit() {
    for (const node of this.root.querySelectorAll("[data-group]")) node.classList.toggle("bhf-lit", node.dataset.group === this.lit);
  }

  watch() {
    this.sizes = new ResizeObserver(() => this.resized());
    this.sizes.observe(this.root);
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
    this.chart.dispose();
    this.lecture.dispose();
    mounted.delete(this.host);
  }

  update({ data, setStateValue, setTriggerValue }) {
    this.data = data;
    this.tell = { state: setStateValue, trigger: setTriggerValue };
    this.store.refresh = this.view.refresh;
    const ids = data.groups.flatMap((group) => group.runs.map((run) => run.id));
    this.store.expect(Math.max(0, ...data.groups.flatMap((group) => group.runs.map((run) => run.updates))));
    this.store.want(ids, data.experiments, fieldsOf(this.view));
    this.store.zoomTo(this.view, readZoom(this.view.zoom).x);
    this.draw();
  }

  change(changes) {
    const zoom = readZoom(this.view.zoom);
    if ("x" in changes || "logX" in changes) delete zoom.x;
    Object.assign(this.view, { zoom: "logY" in changes ? writeZoom(zoom.x ? { x: zoom.x } : {}) : writeZoom(zoom) }, changes);
    this.store.refresh = this.view.refresh;
    this.store.want(this.store.ids, this.store.experiments, fieldsOf(this.view));
    this.store.zoomTo(this.view, readZoom(this.view.zoom).x);
    if ("refresh" in changes) this.store.wake();
    this.draw();
    this.tell.state("view", { ...this.view });
  }

  /** Read the blocks of each group's first run if a panel shows blocks. */
  wantBlocks(groups) {
    const wanted = this.view.panels.some((name) => MEASURES[name]?.block);
    const firsts = groups.filter(({ kind }) => this.data.solvers.includes(kind)).map(({ runs }) => runs[0].id);
    this.store.wantBlocks(wanted ? firsts : []);
  }

  toggle(key) {
    const { hidden } = this.view;
    this.change({ hidden: hidden.includes(key) ? hidden.filter((held) => held !== key) : [...hidden, key] });
  }

  /** Show a group alone, or all groups if it is already alone. */
  only(key) {
    const others = this.data.groups.map((group) => group.key).filter((other) => other !== key);
    const alone = !this.view.hidden.includes(key) && others.every((other) => this.view.hidden.includes(other));
    this.change({ hidden: alone ? [] : others });
  }

  pause() {
    this.paused = !this.paused;
    this.store.paused = this.paused;
    if (!this.paused) this.store.wake();
    this.draw();
  }

  /** The ids of the runs that have not ended. */
  open() {
    return this.store.ids.filter((id) => !this.store.runs.get(id)?.final);
  }

  save(format, size) {
    const done = this.chart.save(format, { title: this.data.title, size, note: `${this.note.textContent} ${location.href}` });
    done.catch((error) => this.say(`Saving the charts failed: ${error.message}`));
  }

  ask(verb, ...ids) {
    for (const id of ids) this.pending.set(id, verb);
    this.tell.trigger("asked", `${verb}:${ids.join(",")}`);
    setTimeout(() => { for (const id of ids) this.pending.delete(id); }, 3000);
    this.draw();
    for (const later of [300, 1000, 3100, 8000]) setTimeout(() => this.store.wake(), later);
  }

  resized() {
    const width = Math.round(this.chart.box.clientWidth);
    const { fill } = this;
    if (width && (width !== this.width || fill !== this.filled)) {
      [this.width, this.filled] = [width, fill];
      this.draw();
    }
  }

  /** The height that the charts fill in a lecture [px]; null outside of one. */
  get fill() {
    return this.presents ? this.chart.box.clientHeight : null;
  }

  get presents() {
    return this.view.view === "present";
  }

  /** The page's colours; in a lecture on a wide screen with larger text and thicker curves. */
  theme() {
    return { ...themeOf(this.root, this.data), ...(this.presents && window.innerWidth >= WIDE ? LECTURE : {}) };
  }

  draw() {
    if (!this.data || this.chart.held) return;
    const { accuracy, groups: all, comparing, names, readOnly } = this.data;
    this.root.classList.toggle("bhf-read-only", readOnly);
    this.drawProgress(all);
    this.lecture.show({ on: this.presents, title: this.data.title, status: this.status, paused: this.paused, x: this.view.x, readOnly });
    const theme = this.theme();
    this.painted = JSON.stringify(theme);
    const groups = comparing ? picked(all, this.store.runs, this.view) : all;
    this.wantBlocks(groups);
    const measure = accuracy || this.view.targetOf !== "test_accuracy" ? this.view.targetOf : "train_loss";
    const shown = { groups, store: this.store, view: this.view, theme, accuracy, measure };
    const count = (some) => some.reduce((sum, { runs }) => sum + runs.length, 0);
    this.toolbar.show(this.view, { paused: this.paused, seeded: all.some((group) => group.runs.length > 1), solves: all.some(({ kind }) => this.data.solvers.includes(kind)), accuracy, readOnly });
    this.head.show(this.view, { shown: count(groups), all: count(all), runs: this.store.runs, names, open: this.open().length });
    this.table.show({ ...shown, pending: this.pending });
    const many = comparing && groups.length > MOST_NAMED;
    const blocks = this.blocksOf(groups);
    [this.legendBox.hidden, this.rankingBox.hidden] = [many && !blocks, !many];
    this.legend.show(many ? { ...shown, groups: [] } : shown, blocks);
    if (many) this.ranking.show(shown);
    this.foldRuns(many, count(groups));
    for (const part of this.comparing) part.hidden = !comparing;
    for (const part of this.alone) part.hidden = comparing;
    if (comparing) {
      this.values.show(shown);
      shown.target = this.target.show(shown);
      if (many) drawBest(this.strip, ranking(groups, this.store.runs, measure), measure, this.presents);
      else drawStrip(this.strip, this.target.shown);
      drawFailures(this.failures, groups, this.store);
    } else this.log.show(this.store, all[0]?.runs[0]?.id);
    this.drawBanner();
    this.drawNote();
    if (this.lit) this.markLit(); // some rows are new
    this.plot(shown).catch((error) => this.say(`Drawing the charts failed: ${error.message}`));
  }

  /** Draw again if the page's colours have changed; style sheets change for other reasons, too. */
  repaint() {
    if (this.data && JSON.stringify(this.theme()) !== this.painted) this.draw();
  }

  /** Fold the single runs under the leaderboard of many configurations; what the user has opened stays open. */
  foldRuns(many, count) {
    if (this.folded !== many) {
      this.folded = many;
      this.fold.open = !many;
    }
    const text = `${count} ${count === 1 ? "run" : "runs"}`;
    put(this.count, text);
    this.count.hidden = !many;
  }

  /** Write the status into the page's heading and the browser's tab. */
  drawProgress(groups) {
    const runs = groups.flatMap((group) => group.runs.map(({ id }) => this.store.runs.get(id))).filter(Boolean);
    const now = performance.now() / 1000;
    const seconds = runs.reduce((sum, run) => sum + run.summary.seconds, 0);
    if (runs.length === this.store.ids.length) this.samples = [...this.samples.filter(({ at }) => now - at < PACE_SECONDS), { at: now, seconds }];
    const { text, tab } = progressOf(runs, pace(this.samples));
    this.status = text;
    const place = document.querySelector(".bhf-progress-text");
    put(place, text);
    const title = `${[tab, this.data.title].filter(Boolean).join(" \u00b7 ")} \u2013 BlockHF`;
    if (document.title !== title) document.title = title;
  }

  /** The number of blocks that dashes distinguish in the shown panels; 0 if none does. */
  blocksOf(groups) {
    if (!this.view.panels.some((name) => MEASURES[name]?.block)) return 0;
    const most = Math.max(0, ...groups.map(({ runs }) => this.store.runs.get(runs[0].id)?.blocks.length ?? 0));
    return most > 1 ? Math.min(most, DASHES.length) : 0;
  }

  async plot(shown) {
    await script("/plotly.min.js");
    const { updatedAt, unreachableSince, problem } = this.store;
    if (!updatedAt && !unreachableSince && !problem) return; // nothing to draw yet
    const width = Math.round(this.chart.box.clientWidth);
    if (!width || this.store.stopped) return;
    const { updates } = this.root.dataset;
    const took = await this.chart.draw({ ...shown, store: this.store.shown, width, fill: this.fill, unit: this.data.lossUnit });
    this.store.drawSeconds = took / 1000;
    this.toolbar.showClipped(this.chart.figure.clipped, this.view.full);
    this.root.dataset.drawn = updates;
    this.root.dataset.redrawMs = String(Math.round(took));
    this.root.dataset.draws = String(1 + Number(this.root.dataset.draws ?? 0));
  }

  drawBanner() {
    const { unreachableSince, problem } = this.store;
    if (unreachableSince) {
      const since = unreachableSince.toLocaleTimeString();
      this.say(`Backend unreachable since ${since}. Showing the last known data; reconnecting automatically.`);
    } else this.say(problem);
  }

  say(text) {
    this.banner.hidden = !text;
    put(this.banner, text);
  }

  drawNote() {
    const { store } = this;
    const parts = [];
    if (!store.updatedAt) parts.push("Loading \u2026");
    else if (store.ended) parts.push("All runs have ended.");
    else if (this.paused) parts.push("Display frozen.");
    else if (!this.view.refresh) parts.push("Refresh is off.");
    else parts.push("Live.");
    const { bucket } = store.shown;
    if (bucket > 1) parts.push(`Each point is the mean of ${bucket} updates; a band shows their minimum and maximum.`);
    else parts.push("Each point is one update.");
    if (store.updatedAt) parts.push(`Updated ${store.updatedAt.toLocaleTimeString()}.`);
    if (this.data.lossUnit && this.width < 480) parts.push(`Losses in ${this.data.lossUnit}.`);
    parts.push("Drag to zoom, double-click to reset. Keys: + and \u2212 zoom, arrows move, 0 resets.");
    const text = parts.join(" ");
    put(this.note, text);
    this.root.dataset.updates = String(Math.max(0, ...[...store.cursors.values()].map((cursor) => cursor.after)));
    this.root.dataset.measures = Object.keys(MEASURES).length;
  }
}

script("/plotly.min.js").catch(() => {}); // the error is reported when the script is used
await styles("/assets/live.css");
