// The leaderboard of many configurations: settings, mean and range, seeds finished and failed; the best one is marked.

import { element, named, sheet } from "../dom.js";
import { inOrder, sortableHeader } from "./sortable_header.js";
import { MEASURES } from "../store/measures.js";
import { aligned, decimals } from "../store/numbers.js";
import { ranking } from "../store/ranking.js";
import { style } from "../plot/theme.js";

export class Leaderboard {
  /** `act.toggle(group)` shows or hides a group, `act.only(group)` shows it alone or again all. */
  constructor(root, act) {
    this.act = act;
    [this.head, this.body] = [element("tr"), element("tbody")];
    this.rows = new Map();
    root.append(element("h2", { class: "bhf-title" }, "Ranking"), sheet("Ranking", "ranking", this.head, this.body));
  }

  /** Show one row per group; `measure` is what is ranked. */
  show({ groups, store, view, theme, measure }) {
    const rows = ranking(groups, store.runs, measure);
    const settings = [...new Set(groups.flatMap((group) => Object.keys(group.settings ?? {})))];
    const title = `Best ${MEASURES[measure].label.toLowerCase()}`;
    sortableHeader(this.head, [
      { title: "Configuration" }, ...settings.map((name) => ({ key: `setting:${name}`, title: name })), { key: "value", title }, { title: "min\u2013max" },
      { key: "finished", title: "Finished" }, { key: "failed", title: "Failed" }, { title: "Actions", hidden: true },
    ], this.sort ?? "", (sort) => { this.sort = sort; this.show({ groups, store, view, theme, measure }); });
    const value = (row, key) => (key.startsWith("setting:") ? row.group.settings?.[key.slice(8)] : key === "value" ? row.value?.mean : row[key]);
    const sorted = this.sort ? inOrder(rows, this.sort, value) : rows;
    const places = decimals(rows.flatMap((row) => (row.value ? [row.value.low] : [])));
    const lines = sorted.map((row) => this.line(row, settings, places, view, theme));
    for (const [key, { line }] of this.rows) if (!lines.includes(line)) this.rows.delete(key);
    if (lines.length !== this.body.children.length || lines.some((line, i) => this.body.children[i] !== line)) {
      const focused = document.activeElement;
      this.body.replaceChildren(...lines);
      if (this.body.contains(focused)) focused.focus({ preventScroll: true });
    }
  }

  line(row, settings, places, view, theme) {
    const { group } = row;
    const held = this.rows.get(group.key) ?? this.make(group);
    const hidden = view.hidden.includes(group.key);
    held.eye.setAttribute("aria-pressed", String(!hidden));
    held.line.classList.toggle("bhf-off", hidden);
    held.line.classList.toggle("bhf-best", row.best);
    const look = style(group, theme);
    const range = row.value && row.value.low !== row.value.high ? `${aligned(row.value.low, places)}\u2013${aligned(row.value.high, places)}` : "";
    const cells = [
      ...settings.map((name) => String(group.settings?.[name] ?? "\u2013")), aligned(row.value?.mean, places), range,
      `${row.finished} of ${row.n}`, row.failed ? String(row.failed) : "",
    ];
    const signature = JSON.stringify([cells, look, group.label, row.best]);
    if (held.signature !== signature) {
      held.signature = signature;
      held.eye.replaceChildren(named(look, group.label), row.best ? element("em", { class: "bhf-badge" }, "best") : "");
      held.line.replaceChildren(element("td", { class: "bhf-label" }, held.eye), ...cells.map((text) => element("td", {}, text)), held.actions);
    }
    return held.line;
  }

  make(group) {
    const eye = element("button", { type: "button", class: "bhf-eye", title: "Show or hide its curves", onclick: () => this.act.toggle(group.key) });
    const only = element("button", { type: "button", class: "bhf-button", "aria-label": `Only ${group.label}`, onclick: () => this.act.only(group.key) }, "Only this");
    const clone = element("a", { class: "bhf-change", href: `/launch?from=${group.runs[0].id}`, title: `New comparison from ${group.label}` }, "Clone");
    const actions = element("td", { class: "bhf-actions" }, only, element("span", { class: "bhf-links" }, clone));
    const held = { eye, actions, line: element("tr", { "data-group": group.key }) };
    this.rows.set(group.key, held);
    return held;
  }
}
