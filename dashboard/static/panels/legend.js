// The curves' names below the charts, best first. Entries are kept and moved, so that the focus survives a redraw.

import { element, swatch } from "../dom.js";
import { ranking } from "../store/ranking.js";
import { DASHES, style } from "../plot/theme.js";
import { significant } from "../store/numbers.js";

const SIGNS = ["\u25cf", "\u25a0", "\u25c6", "\u271a", "\u25b2", "\u2715"]; // the same marks as in the panel of stop reasons

export class Legend {
  /** `toggle(group)` shows or hides a group's curves. */
  constructor(root, toggle) {
    [this.root, this.toggle] = [root, toggle];
    this.entries = new Map();
    this.blocks = element("span", { class: "bhf-blocks-legend" });
    root.append(this.blocks);
  }

  /** Show the groups, and the dashes of so many blocks. */
  show({ groups, store, view, theme, measure }, blocks) {
    const rows = ranking(groups, store.runs, measure);
    const wanted = rows.map(({ group, value }) => this.entry(group, value, view, theme));
    for (const [key, node] of this.entries) {
      if (wanted.includes(node)) continue;
      node.remove();
      this.entries.delete(key);
    }
    if (wanted.some((node, i) => this.root.children[i] !== node)) {
      const focused = document.activeElement;
      this.root.prepend(...wanted);
      if (focused !== document.activeElement && this.root.contains(focused)) focused.focus({ preventScroll: true });
    }
    this.showBlocks(blocks, view, theme);
  }

  entry(group, value, view, theme) {
    let node = this.entries.get(group.key);
    if (!node) {
      node = element("button", { type: "button", class: "bhf-eye", "data-group": group.key, title: "Show or hide", onclick: () => this.toggle(group.key) });
      this.entries.set(group.key, node);
    }
    node.setAttribute("aria-pressed", String(!view.hidden.includes(group.key)));
    const { colour, dash } = style(group, theme);
    const signature = [colour, dash, group.label, group.runs.length, value?.mean].join();
    if (node.dataset.signature !== signature) {
      node.dataset.signature = signature;
      const count = group.runs.length > 1 ? element("em", {}, `${group.runs.length} ${group.unit}`) : null;
      const best = value ? element("em", {}, significant(value.mean, 3)) : null;
      node.replaceChildren(...[swatch(colour, dash), element("span", {}, group.label), best, count].filter(Boolean));
    }
    return node;
  }

  showBlocks(blocks, view, theme) {
    const marked = view.panels.includes("stop_reason");
    const signature = [blocks, marked, theme.muted].join();
    if (this.blocks.dataset.signature === signature) return;
    this.blocks.dataset.signature = signature;
    this.blocks.replaceChildren(...Array.from({ length: blocks }, (_, block) => {
      const sign = marked ? element("span", { "aria-hidden": "true" }, SIGNS[block % SIGNS.length]) : null;
      return element("span", { class: "bhf-block" }, swatch(theme.muted, DASHES[block % DASHES.length]), sign, `Block ${block + 1}`);
    }));
  }
}
