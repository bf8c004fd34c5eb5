// Logged values at chosen updates: one row per configuration, one column per update.

import { element, labelled, named, sheet } from "../dom.js";
import { inOrder, sortableHeader } from "./sortable_header.js";
import { COMPARED, MEASURES, panelsOf } from "../store/measures.js";
import { options, range } from "./target_panel.js";
import { decimals } from "../store/numbers.js";
import { get } from "../store/store.js";
import { rises, spread } from "../store/time_to_target.js";
import { style } from "../plot/theme.js";

const MOST = 8; // columns
const CHUNK = 50; // runs per request

/** Read "5, 10 20" as updates: sorted, without repetition, at most MOST. */
export function readSteps(text) {
  const found = (text ?? "").split(/[\s,;]+/).map(Number).filter((step) => Number.isInteger(step) && step >= 1 && step < 1e7);
  return [...new Set(found)].sort((a, b) => a - b).slice(0, MOST);
}

/** Quarters of the longest run's updates; powers of two if its end is unknown, because these stay as it grows. */
export function defaultSteps(runs) {
  const known = runs.filter(Boolean);
  const end = Math.max(0, ...known.map(({ config: { budget }, final, summary }) => (final ? summary.updates : budget.updates ?? 0)));
  const done = Math.max(0, ...known.map(({ summary }) => summary.updates));
  if (end >= done && end > 0) return readSteps([1, 2, 3, 4].map((part) => Math.round((part * end) / 4)).join());
  return done < 1 ? [] : readSteps([3, 2, 1, 0].map((back) => 2 ** (Math.floor(Math.log2(done)) - back)).join());
}

/** The last value in columns that end at an update, with its own update; null if none was measured or it is not finite. */
export function lastValue(columns, measure) {
  const at = (columns?.[measure] ?? []).findLastIndex((value) => value != null);
  return at < 0 ? null : { value: columns[measure][at], update: columns.update[at] };
}

export class ValuesPanel {
  /** `set(changes)` changes the view; `redraw()` is called when values have arrived. */
  constructor(root, set, redraw) {
    this.set = set;
    this.redraw = redraw;
    this.held = new Map(); // run:rowGeneration:measure:update -> {value, update} or null
    this.asking = new Set();
    this.measure = element("select", { onchange: () => set({ atOf: this.measure.value }) });
    this.input = element("input", {
      type: "text", inputmode: "numeric", placeholder: "e.g. 10, 20, 50", onchange: () => set({ at: readSteps(this.input.value).join() }),
    });
    this.note = element("p", { class: "bhf-note" });
    [this.head, this.body] = [element("tr"), element("tbody")];
    root.append(
      element("h3", { class: "bhf-title" }, "Values at chosen updates"),
      element("div", { class: "bhf-row" }, labelled("Measure", this.measure), labelled("Updates", this.input)),
      this.note,
      sheet("Values at chosen updates", "steps", this.head, this.body),
    );
  }

  /** Show the known values, and request the missing ones. */
  show({ groups, store, view, theme, accuracy }) {
    const shown = groups.filter((group) => !view.hidden.includes(group.key));
    const choices = panelsOf({ panels: COMPARED }, accuracy);
    const measure = choices.includes(view.atOf) ? view.atOf : COMPARED[0];
    const typed = readSteps(view.at);
    const steps = typed.length ? typed : defaultSteps(shown.flatMap(({ runs }) => runs.map(({ id }) => store.runs.get(id))));
    options(this.measure, choices.map((key) => [key, MEASURES[key].label]), measure);
    if (document.activeElement !== this.input) this.input.value = steps.join(", ");
    const columns = steps.map((step) => ({ key: String(step), title: `Update ${step.toLocaleString("en-US")}` }));
    sortableHeader(this.head, [{ title: "Configuration" }, ...columns], view.atSort, (atSort) => this.set({ atSort }));
    this.early = false;
    const value = (group, step) => spread(this.points(group, Number(step), measure, store).map((point) => point.value))?.mean;
    const places = steps.map((step) => decimals(shown.flatMap((group) => this.points(group, step, measure, store).map((point) => point.value))));
    this.body.replaceChildren(...inOrder(shown, view.atSort, value).map((group) => this.line(group, steps, measure, store, theme, places)));
    this.note.textContent = this.words(measure);
    for (const step of steps) this.ask(shown, store, measure, step);
  }

  words(measure) {
    const early = this.early ? " If an update was not evaluated, the evaluation before it counts." : "";
    const better = rises(measure) ? "higher" : "lower";
    return `Exact logged values. Mean over runs (min\u2013max); ${better} is better.${early}`;
  }

  line(group, steps, measure, store, theme, places) {
    const cells = steps.map((step, i) => {
      const points = this.points(group, step, measure, store);
      if (points.some(({ update }) => update < step)) this.early = true;
      const values = spread(points.map(({ value }) => value));
      const part = values && points.length < group.runs.length ? element("em", {}, `${points.length} of ${group.runs.length} runs`) : null;
      return element("td", {}, values ? range(values, points.length, places[i]) : "–", part);
    });
    return element("tr", { "data-group": group.key }, element("td", {}, named(style(group, theme), group.label)), ...cells);
  }

  /** The known values of a group's runs at an update. */
  points(group, step, measure, store) {
    return group.runs.map(({ id }) => this.held.get(keyOf(store, id, measure, step))).filter(Boolean);
  }

  /** Request the missing values of the runs that have reached an update, from the evaluation before it on. */
  async ask(groups, store, measure, step) {
    const missing = groups.flatMap(({ runs }) => runs.map(({ id }) => id)).filter((id) => {
      const key = keyOf(store, id, measure, step);
      return (store.cursors.get(id)?.after ?? 0) >= step && !this.held.has(key) && !this.asking.has(key);
    });
    const keys = missing.map((id) => keyOf(store, id, measure, step));
    for (const key of keys) this.asking.add(key);
    try {
      for (let i = 0; i < missing.length; i += CHUNK) await this.read(missing.slice(i, i + CHUNK), keys.slice(i, i + CHUNK), store, measure, step);
      if (missing.length) this.redraw();
    } catch {
      // The store's next poll reports the error and calls this again.
    }
    for (const key of keys) this.asking.delete(key);
  }

  async read(ids, keys, store, measure, step) {
    const after = ids.map((id) => Math.max(0, step - (store.runs.get(id)?.config.evaluation.every ?? 1)));
    const query = new URLSearchParams({ runs: ids.join(","), after: after.join(","), until: ids.map(() => step).join(","), bucket: 1, fields: measure });
    const { runs } = await get(`/api/v1/series?${query}`);
    ids.forEach((id, i) => {
      if (runs[id]?.row_generation === store.cursors.get(id)?.rowGeneration) this.held.set(keys[i], lastValue(runs[id], measure));
    });
  }
}

function keyOf(store, id, measure, step) {
  return [id, store.cursors.get(id)?.rowGeneration, measure, step].join(":");
}
