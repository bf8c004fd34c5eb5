// The panel of the target loss: measure, value, baseline, and the table of costs.

import { element, labelled, named, sheet } from "../dom.js";
import { inOrder, sortableHeader } from "./sortable_header.js";
import { COMPARED, MEASURES, panelsOf, X_AXES } from "../store/measures.js";
import { aligned, decimals } from "../store/numbers.js";
import { compared, costsToShow, defaultTarget, outcome, targetRows } from "../store/time_to_target.js";
import { style } from "../plot/theme.js";


export class TargetPanel {
  /** `set(changes)` changes the view. */
  constructor(root, set) {
    this.set = set;
    this.measure = element("select", { onchange: () => set({ targetOf: this.measure.value, target: "" }) });
    this.value = element("input", { type: "number", step: "any", onchange: () => set({ target: this.value.value }) });
    this.baseline = element("select", { onchange: () => set({ baseline: this.baseline.value }) });
    this.note = element("p", { class: "bhf-note" });
    this.body = element("tbody");
    this.head = element("tr");
    root.append(
      element("h3", { class: "bhf-title" }, "Cost to reach a target"),
      element("div", { class: "bhf-row" }, labelled("Measure", this.measure), labelled("Target", this.value), labelled("Compared with", this.baseline)),
      this.note,
      sheet("Target", "targets", this.head, this.body),
    );
  }

  /** Compute and show the table; returns the target's value, or null. */
  show({ groups, store, view, theme, accuracy }) {
    const shown = groups.filter((group) => !view.hidden.includes(group.key));
    const measure = panelsOf({ panels: COMPARED }, accuracy).includes(view.targetOf) ? view.targetOf : COMPARED[0];
    const runs = shown.flatMap((group) => group.runs);
    const typed = Number.parseFloat(view.target);
    const target = Number.isFinite(typed) ? typed : defaultTarget(runs, store.series, measure, store.runs);
    options(this.measure, panelsOf({ panels: COMPARED }, accuracy).map((key) => [key, MEASURES[key].label]), measure);
    const rows = target == null ? [] : targetRows(shown, store.series, store.runs, measure, target);
    const baseline = rows.find(({ group }) => group.key === view.baseline) ?? rows[0];
    options(this.baseline, shown.map((group) => [group.key, group.label]), baseline?.group.key);
    if (document.activeElement !== this.value) this.value.value = target == null ? "" : String(Number(target.toPrecision(5)));
    const isTyped = Number.isFinite(typed);
    const text = isTyped ? "" : "Default target: a value that every finished run reached. Drag the dashed line or type a value.";
    const thin = store.bucket > 1 ? ` Points are ${store.bucket} updates wide, which limits the precision of costs.` : "";
    this.note.textContent = `${text}${thin} Mean over the runs that reached the target (min\u2013max).`;
    const costs = costsToShow(rows);
    const columns = [
      { title: "Configuration" }, { key: "reached", title: "Target", sub: "Runs that reached the target" },
      ...costs.map((key) => ({ key, title: X_AXES[key].label, sub: `${X_AXES[key].label} to the target` })),
      { title: baseline ? `Compared with ${baseline.group.label}` : "" },
    ];
    sortableHeader(this.head, columns, view.targetSort, (targetSort) => this.set({ targetSort }));
    const sorted = inOrder(rows, view.targetSort, (row, key) => (key === "reached" ? row.reached / row.n : row.costs[key]?.mean));
    const means = (cost) => rows.flatMap((row) => (row.costs[cost] ? [row.costs[cost].mean] : []));
    const places = Object.fromEntries(costs.map((cost) => [cost, decimals(means(cost), 3)]));
    this.body.replaceChildren(...sorted.map((row) => line(row, costs, baseline, theme, places)));
    this.shown = target == null ? null : { rows, baseline, measure, target };
    return target == null ? null : { measure, value: target };
  }
}

/** Fill a select with [value, text] pairs if they changed, and choose one. */
export function options(select, choices, chosen) {
  const signature = JSON.stringify(choices);
  if (select.dataset.signature !== signature) {
    select.dataset.signature = signature;
    select.replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
  }
  if (chosen != null && select.value !== chosen) select.value = chosen;
}

function line(row, costs, baseline, theme, places) {
  const cells = costs.map((cost) => element("td", {}, row.costs[cost] ? range(row.costs[cost], row.reached, places[cost]) : "\u2013"));
  const words = row === baseline ? "baseline" : compared(row, baseline);
  return element("tr", { "data-group": row.group.key }, element("td", {}, named(style(row.group, theme), row.group.label)), element("td", {}, outcome(row)), ...cells, element("td", {}, words || "\u2013"));
}

/** Write a mean with its minimum and maximum, if there are several values, with a column's decimals. */
export function range({ mean, low, high }, n, places) {
  return n > 1 && low !== high ? `${aligned(mean, places)} (${aligned(low, places)}\u2013${aligned(high, places)})` : aligned(mean, places);
}
