// The table of runs: status, progress, last and best values, what can be asked of each. Rows are kept and only their texts change.

import { element, swatch } from "./dom.js";
import { style } from "./draw.js";
import { divergence } from "./series.js";

const FINAL = new Set(["finished", "failed", "cancelled"]);
const STATUS_TEXT = { queued: "Queued", running: "Running", paused: "Paused", finished: "Finished", failed: "Failed", cancelled: "Cancelled" };

const VERBS = { cancel: "Cancel", pause: "Pause", resume: "Resume", retry: "Try again" };
const DOING = { cancel: "Cancelling", pause: "Pausing", resume: "Resuming", retry: "Queueing" };

/** What is asked of a run and not done yet, by the user just now or as the backend knows; null: nothing. */
function asked(run, pending) {
  if (run.cancel_requested && !FINAL.has(run.status)) return "cancel";
  return pending ?? (run.pause_requested && run.status === "running" ? "pause" : null);
}

/** What can be asked of a run as it stands. */
export function possible(run) {
  if (["failed", "cancelled"].includes(run.status)) return ["retry"];
  if (FINAL.has(run.status) || run.cancel_requested) return [];
  return run.status === "paused" || run.pause_requested ? ["cancel", "resume"] : ["cancel", "pause"];
}

/** Write a measured number: four digits, or a dash where it is not there. */
export function number(value) {
  if (value == null) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return FORMAT.format(Number(value.toPrecision(4)));
}

const FORMAT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 }); // made once: making one takes longer than using it

const share = (value) => (value == null ? "–" : `${(100 * value).toFixed(2)} %`);
const time = (value) => (value >= 600 ? `${(value / 60).toFixed(1)} min` : `${value.toFixed(1)} s`);

/** How much of its budget a run has used, by the limit that is nearest: 0 to 1, or null without such a limit. */
export function progress(run) {
  if (FINAL.has(run.status)) return run.status === "finished" ? 1 : used(run);
  return used(run);
}

function used({ config: { budget }, summary }) {
  const shares = [
    budget.updates && summary.updates / budget.updates,
    budget.epochs && summary.epoch / budget.epochs,
    budget.seconds && summary.seconds / budget.seconds,
  ].filter((value) => value != null);
  return shares.length ? Math.min(1, Math.max(...shares)) : null;
}

const COLUMNS = [
  { key: "label", title: "Run", value: (run, info) => info.order },
  { key: "seed", title: "Seed", value: (run) => run.config.seed, text: String, numeric: true },
  { key: "status", title: "Status", value: (run) => run.status },
  { key: "progress", title: "Progress", value: (run) => progress(run) },
  { key: "last_train_loss", title: "Train loss", loss: true },
  { key: "best_train_loss", title: "best", sub: "Train loss, best" },
  { key: "last_test_loss", title: "Test loss" },
  { key: "best_test_loss", title: "best", sub: "Test loss, best" },
  { key: "last_test_accuracy", title: "Accuracy", text: share, accuracy: true },
  { key: "best_test_accuracy", title: "best", sub: "Accuracy, best", text: share, accuracy: true },
  { key: "seconds", title: "Time", text: time },
  { key: "cost", title: "Cost", sub: "Cost in gradients of one batch" },
].map((column) => ({ value: (run) => run.summary[column.key], text: number, ...column }));

export class Table {
  /** `act.ask(verb, id)` and `act.toggle(group)` are called on the user's wish. */
  constructor(root, act) {
    this.act = act;
    this.sort = { key: "label", down: false };
    this.rows = new Map();
    this.head = element("tr");
    this.body = element("tbody");
    const table = element("table", { class: "bhf-table bhf-runs" }, element("thead", {}, this.head), this.body);
    this.filter = element("input", {
      type: "search", placeholder: "such as bhf running", oninput: () => act.filter(this.filter.value.slice(0, 80)),
    });
    const label = element("label", { class: "bhf-select" }, element("span", {}, "Filter runs"), this.filter);
    this.count = element("span", { class: "bhf-count", role: "status" });
    root.append(element("div", { class: "bhf-row bhf-filter" }, label, this.count));
    root.append(element("div", { class: "bhf-scroll", tabindex: 0, role: "region", "aria-label": "Runs" }, table));
  }

  show({ groups, store, view, theme, accuracy, pending }) {
    this.columns = COLUMNS.filter((column) => accuracy || !column.accuracy);
    this.drawHead();
    const entries = groups.flatMap((group) => group.runs.map((info) => ({ group, info, run: store.runs.get(info.id) })));
    const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const known = entries.filter(({ run, info }) => run && matches(run, info, words));
    if (document.activeElement !== this.filter) this.filter.value = view.filter;
    put(this.count, words.length ? `${known.length} of ${entries.length} runs` : "");
    for (const [id, row] of this.rows) {
      if (!known.some(({ group, info }) => info.id === id && info.title === row.title && group.key === row.key)) { // gone, or named anew
        row.line.remove();
        this.rows.delete(id);
      }
    }
    for (const entry of known) this.drawRow({ ...entry, store, view, theme, pending });
    this.order(known);
  }

  drawHead() {
    const signature = JSON.stringify([this.columns.map(({ key }) => key), this.sort]);
    if (signature === this.signature) return;
    this.signature = signature;
    const cells = this.columns.map(({ key, title, sub }) => {
      const sorted = this.sort.key === key ? (this.sort.down ? "descending" : "ascending") : "none";
      const click = () => this.sortBy(key);
      const button = element("button", { type: "button", onclick: click, title: `Sort by ${sub ?? title}`, "aria-label": sub ?? title }, title);
      return element("th", { scope: "col", "aria-sort": sorted, class: `bhf-${key}` }, button);
    });
    this.head.replaceChildren(...cells, element("th", { scope: "col" }, element("span", { class: "bhf-hidden" }, "Actions")));
  }

  sortBy(key) {
    this.sort = { key, down: this.sort.key === key && !this.sort.down };
    this.act.redraw();
  }

  drawRow({ group, info, run, store, view, theme, pending }) {
    const row = this.rows.get(info.id) ?? this.makeRow(group, info);
    const hidden = view.hidden.includes(group.key);
    row.line.classList.toggle("bhf-off", hidden);
    const { colour, dash } = style(group, theme);
    if (row.painted !== colour + dash) {
      row.painted = colour + dash;
      row.cells.label.replaceChildren(this.legend(group, info, colour, dash, row));
    }
    row.eye.setAttribute("aria-pressed", String(!hidden));
    for (const column of this.columns) {
      const cell = row.cells[column.key];
      if (column.key === "status") drawStatus(cell, run, store.series.get(run.id), asked(run, pending.get(run.id)));
      else if (column.key === "progress") drawProgress(cell, run);
      else if (column.key !== "label") put(cell, column.text(column.value(run, info)));
    }
    if (row.columns !== this.signature) {
      row.columns = this.signature;
      row.line.replaceChildren(...this.columns.map(({ key }) => row.cells[key]), row.actions);
    }
    const verbs = possible(run);
    for (const [verb, button] of Object.entries(row.verbs)) {
      button.hidden = !verbs.includes(verb);
      button.disabled = pending.has(run.id);
    }
  }

  makeRow(group, info) {
    const cells = Object.fromEntries(COLUMNS.map(({ key }) => [key, element("td", { class: `bhf-${key}` })]));
    const name = info.title;
    const button = ([verb, text]) => [verb, element(
      "button", { type: "button", class: "bhf-button", "aria-label": `${text} ${name}`, onclick: () => this.act.ask(verb, info.id) }, text,
    )];
    const verbs = Object.fromEntries(Object.entries(VERBS).map(button));
    const links = element(
      "span", { class: "bhf-links" },
      element("a", { href: `/run?id=${info.id}`, title: `All about ${name}` }, "Details"),
      element("a", { href: `/launch?from=${info.id}`, title: `A new comparison that starts from ${name}` }, "Clone"),
      element("a", { href: `/api/v1/runs/${info.id}/export.csv`, download: `${info.id}.csv`, title: `Every update of ${name}` }, "CSV"),
      element("a", { href: `/api/v1/runs/${info.id}/export.parquet`, download: `${info.id}.parquet`, title: `Every update of ${name}, typed` }, "Parquet"),
    );
    const row = { title: name, key: group.key, cells, verbs, actions: element("td", { class: "bhf-actions" }, ...Object.values(verbs), links), line: element("tr", { "data-run": info.id }) };
    row.eye = element("button", { type: "button", class: "bhf-eye", title: "Show or hide its curves", onclick: () => this.act.toggle(group.key) });
    this.rows.set(info.id, row);
    return row;
  }

  legend(group, info, colour, dash, row) {
    const detail = info.detail ? element("em", {}, info.detail) : null;
    row.eye.replaceChildren(swatch(colour, dash), element("span", {}, group.label), ...(detail ? [detail] : []));
    return row.eye;
  }

  order(known) {
    const column = COLUMNS.find(({ key }) => key === this.sort.key);
    const sign = this.sort.down ? -1 : 1;
    const sorted = [...known].sort((a, b) => sign * compare(column.value(a.run, a.info), column.value(b.run, b.info), sign));
    const lines = sorted.map(({ info }) => this.rows.get(info.id).line);
    if (lines.some((line, i) => this.body.children[i] !== line)) this.body.replaceChildren(...lines);
  }
}

/** Whether a run has each of the words in its name, seed, state, problem, data or comparison. */
export function matches(run, info, words) {
  const { problem } = run.config;
  const text = [info.title, run.status, problem.name, problem.data, run.experiment_name, run.config.optimizer.kind].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Smaller first; what is not there comes last in either direction. */
function compare(a, b, sign) {
  if (a == null || b == null) return (a == null) - (b == null) === 0 ? 0 : ((a == null) - (b == null)) * sign;
  return a < b ? -1 : Number(a > b);
}

function put(cell, text) {
  if (cell.textContent !== text) cell.textContent = text;
}

function drawStatus(cell, run, columns, verb) {
  const at = columns && divergence(columns, "update", "train_loss");
  const text = DOING[verb] ?? STATUS_TEXT[run.status];
  const detail = run.error?.message ?? (at ? `Diverged at update ${at.update}` : "");
  const signature = `${text} ${detail} ${run.ended_by}`;
  if (cell.dataset.signature === signature) return;
  cell.dataset.signature = signature;
  const badge = element("span", { class: `bhf-badge bhf-is-${run.status}`, title: run.ended_by ? `Ended by ${run.ended_by}` : "" }, text);
  cell.replaceChildren(badge);
  if (detail) cell.append(element("span", { class: "bhf-detail", title: run.error?.traceback ?? "" }, detail));
}

function drawProgress(cell, run) {
  const part = progress(run);
  const { updates } = run.config.budget;
  const text = updates ? `${run.summary.updates} / ${updates}` : `${run.summary.updates}`;
  if (!cell.firstChild) cell.append(element("progress", { max: 1 }), element("span", {}));
  const [bar, label] = cell.children;
  bar.setAttribute("aria-label", `Progress: ${text} updates`);
  if (part == null) bar.removeAttribute("value");
  else bar.value = part;
  put(label, text);
}
