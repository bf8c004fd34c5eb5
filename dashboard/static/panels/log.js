// A run's log: its last updates, newest first, with iterations and stop reason of each block.

import { element, sheet } from "../dom.js";
import { MEASURES } from "../store/measures.js";
import { get } from "../store/store.js";
import { significant, time } from "../store/numbers.js";

const ROWS = 12;
const FIELDS = ["batch_loss", "train_loss", "test_loss", "gradient_norm", "step_norm"]; // what fits a line

export class LogPanel {
  constructor(root) {
    this.body = element("tbody");
    const titles = ["Update", "Time", ...FIELDS.map((name) => MEASURES[name].label), "Blocks"];
    const head = element("tr", {}, ...titles.map((text) => element("th", { scope: "col" }, text)));
    this.note = element("p", { class: "bhf-note" });
    root.append(
      element("h3", { class: "bhf-title" }, "Log"), this.note,
      sheet("Log", "log", head, this.body),
    );
  }

  /** Read and show the last updates if there are newer ones. */
  async show(store, id) {
    const { after = 0, rowGeneration } = store.cursors.get(id) ?? {};
    const last = `${rowGeneration}:${after}`;
    if (!after) this.note.textContent = "No update has been reported yet.";
    if (!after || this.busy || this.last === last) return;
    this.busy = true;
    try {
      const query = new URLSearchParams({ runs: id, after: Math.max(0, after - ROWS), bucket: 1, blocks: 1, fields: [...FIELDS, "seconds", "diverged"].join() });
      const { runs } = await get(`/api/v1/series?${query}`);
      const lines = linesOf(runs[id]).slice(-ROWS).reverse();
      this.body.replaceChildren(...lines.map((cells) => element("tr", {}, ...cells.map((text) => element("td", {}, text)))));
      this.note.textContent = "The last updates. The CSV and Parquet files have all of them.";
      this.last = last;
    } catch {
      // The store's next poll reports the error, and this is tried again.
    }
    this.busy = false;
  }
}

/** Each update of a run's columns as the cells of a line. */
export function linesOf(columns) {
  return (columns?.update ?? []).map((update, i) => {
    const solves = (columns.blocks ?? []).map((block) => {
      const count = block.cg_iterations?.[i];
      return count == null ? null : `${count} ${count === 1 ? "iteration" : "iterations"}, ${block.stop_reason[i]}`;
    });
    const notes = columns.diverged?.[i] ? ["diverged"] : solves.filter(Boolean);
    return [String(update), time(columns.seconds?.[i]), ...FIELDS.map((name) => significant(columns[name]?.[i])), notes.join("; ")];
  });
}
