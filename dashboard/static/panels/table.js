// The table of runs: status, progress, last and best values, actions. Rows are kept and only their texts change.

import { element, put, sheet, swatch } from "../dom.js";
import { aligned, decimals, significant, time } from "../store/numbers.js";
import { narrowed } from "../store/filter.js";
import { inOrder, sortableHeader } from "./sortable_header.js";
import { divergence } from "../store/series.js";
import { endedAbove } from "../store/time_to_target.js";
import { style } from "../plot/theme.js";

const STATUS_TEXT = { queued: "Queued", running: "Running", paused: "Paused", finished: "Finished", failed: "Failed", cancelled: "Cancelled" };

const VERBS = { pause: "Pause training", resume: "Resume", retry: "Retry", cancel: "Cancel" };
const DOING = { cancel: "Cancelling", pause: "Pausing", resume: "Resuming", retry: "Queueing" };

/** The requested action that is not done yet: by the user just now, or known to the backend; null if none. */
function requested(run, pending) {
  if (run.cancel_requested && !run.final) return "cancel";
  return pending ?? (run.pause_requested && run.status === "running" ? "pause" : null);
}

const share = (value) => (value == null ? "\u2013" : `${(100 * value).toFixed(2)} %`);

const COLUMNS = [
  { key: "label", title: "Run", value: (run, info) => info.order },
  { key: "seed", title: "Seed", value: (run) => run.config.seed, text: String, numeric: true },
  { key: "status", title: "Status", value: (run) => run.status },
  { key: "progress", title: "Progress", value: (run) => run.progress },
  { key: "last_train_loss", title: "Train loss", loss: true },
  { key: "best_train_loss", title: "best", sub: "Train loss, best" },
  { key: "last_test_loss", title: "Test loss" },
  { key: "best_test_loss", title: "best", sub: "Test loss, best" },
  { key: "last_test_accuracy", title: "Accuracy", text: share, accuracy: true },
  { key: "best_test_accuracy", title: "best", sub: "Accuracy, best", text: share, accuracy: true },
  { key: "seconds", title: "Time", text: time },
  { key: "cost", title: "Cost", sub: "Cost in gradients of one batch" },
].map((column) => ({ value: (run) => run.summary[column.key], text: aligned, measured: !column.text, ...column }));

export class Table {
  /** The user calls `act.ask(verb, id)`, `act.toggle(group)` and `act.set(changes of the view)`. */
  constructor(root, act) {
    this.act = act;
    this.rows = new Map();
    this.head = element("tr");
    this.body = element("tbody");
    this.none = element("p", { class: "bhf-note" });
    root.append(sheet("Runs", "runs", this.head, this.body), this.none);
  }

  /** Show the runs of the groups, which the view has filtered. */
  show({ groups, store, view, theme, accuracy, pending }) {
    this.columns = COLUMNS.filter((column) => accuracy || !column.accuracy);
    this.signature = this.columns.map(({ key }) => key).join();
    sortableHeader(this.head, [...this.columns, { title: "Actions", hidden: true }], view.sort || "label", (sort) => this.act.set({ sort: sort === "label" ? "" : sort }));
    const known = groups
      .flatMap((group) => group.runs.map((info) => ({ group, info, run: store.runs.get(info.id) })))
      .filter(({ run }) => run);
    const shown = new Map(known.map((entry) => [entry.info.id, entry]));
    for (const [id, row] of this.rows) {
      const entry = shown.get(id);
      if (entry?.info.title !== row.title || entry.group.key !== row.key) { // removed or renamed
        row.line.remove();
        this.rows.delete(id);
      }
    }
    this.places = Object.fromEntries(this.columns.filter(({ measured }) => measured).map(({ key, value }) => [key, decimals(known.map(({ run, info }) => value(run, info)))]));
    for (const entry of known) this.drawRow({ ...entry, store, view, theme, pending });
    this.order(known, view.sort);
    const empty = !known.length && narrowed(view);
    put(this.none, empty ? "No runs match the filter. Clear it or choose other values." : "");
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
      if (column.key === "status") drawStatus(cell, run, store.series.get(run.id), requested(run, pending.get(run.id)));
      else if (column.key === "progress") drawProgress(cell, run);
      else if (column.key !== "label") put(cell, column.text(column.value(run, info), this.places[column.key]));
    }
    if (row.columns !== this.signature) {
      row.columns = this.signature;
      row.line.replaceChildren(...this.columns.map(({ key }) => row.cells[key]), row.actions);
    }
    for (const [verb, button] of Object.entries(row.verbs)) {
      button.hidden = !run.actions.includes(verb);
      button.disabled = pending.has(run.id);
    }
  }

  makeRow(group, info) {
    const cells = Object.fromEntries(COLUMNS.map(({ key }) => [key, element("td", { class: `bhf-${key}` })]));
    const name = info.title;
    const button = ([verb, text]) => [verb, element(
      "button", { type: "button", class: "bhf-button bhf-change", "aria-label": `${text} ${name}`, onclick: () => this.act.ask(verb, info.id) }, text,
    )];
    const verbs = Object.fromEntries(Object.entries(VERBS).map(button));
    const links = element(
      "span", { class: "bhf-links" },
      element("a", { href: `/run?id=${info.id}`, title: `Details of ${name}` }, "Details"),
      element("a", { class: "bhf-change", href: `/launch?from=${info.id}`, title: `New comparison from ${name}` }, "Clone"),
      element("a", { href: `/api/v1/runs/${info.id}/export.csv`, download: `${info.id}.csv`, title: `Every update of ${name}` }, "CSV"),
      element("a", { href: `/api/v1/runs/${info.id}/export.parquet`, download: `${info.id}.parquet`, title: `Every update of ${name} with data types` }, "Parquet"),
    );
    const row = { title: name, key: group.key, cells, verbs, actions: element("td", { class: "bhf-actions" }, ...Object.values(verbs), links), line: element("tr", { "data-run": info.id, "data-group": group.key }) };
    row.eye = element("button", { type: "button", class: "bhf-eye", title: "Show or hide its curves", onclick: () => this.act.toggle(group.key) });
    this.rows.set(info.id, row);
    return row;
  }

  legend(group, info, colour, dash, row) {
    const detail = info.detail ? element("em", {}, info.detail) : null;
    row.eye.replaceChildren(swatch(colour, dash), element("span", {}, group.label), ...(detail ? [detail] : []));
    return row.eye;
  }

  order(known, sort) {
    const column = (key) => COLUMNS.find((one) => one.key === key);
    const sorted = inOrder(known, sort, ({ run, info }, key) => column(key)?.value(run, info));
    const lines = sorted.map(({ info }) => this.rows.get(info.id).line);
    if (lines.some((line, i) => this.body.children[i] !== line)) this.body.replaceChildren(...lines);
  }
}

function drawStatus(cell, run, columns, verb) {
  const at = columns && divergence(columns, "update", "train_loss");
  const text = DOING[verb] ?? STATUS_TEXT[run.status];
  const above = endedAbove(run, columns);
  const rose = above ? `Ended above its start: ${significant(above.first, 3)} to ${significant(above.last, 3)}` : "";
  const detail = run.error?.message ?? (at ? `Diverged at update ${at.update}` : rose);
  const signature = `${text} ${detail} ${run.ended_by}`;
  if (cell.dataset.signature === signature) return;
  cell.dataset.signature = signature;
  const badge = element("span", { class: `bhf-badge bhf-is-${above ? "risen" : run.status}`, title: run.ended_by ? `Ended by ${run.ended_by}` : "" }, text);
  cell.replaceChildren(badge);
  if (detail) cell.append(element("span", { class: "bhf-detail", title: run.error?.traceback ?? "" }, detail));
}

function drawProgress(cell, run) {
  const { updates } = run.config.budget;
  const text = updates ? `${run.summary.updates} / ${updates}` : `${run.summary.updates}`;
  if (!cell.firstChild) cell.append(element("progress", { max: 1 }), element("span", {}));
  const [bar, label] = cell.children;
  bar.setAttribute("aria-label", `Progress: ${text} updates`);
  bar.value = run.progress;
  put(label, text);
}
