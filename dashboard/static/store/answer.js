// The answer in one line: what reaching a target cost each configuration, best first. Pure functions.

import { fraction } from "./fractions.js";
import { MEASURES } from "./measures.js";
import { significant } from "./numbers.js";

const NOUNS = { seconds: "the time", cost: "the compute" };

/** Rows in the order of the answer: reached with the fewest updates first, then those that may still reach the target. */
export function ranked(rows) {
  const updates = (row) => row.costs.update?.mean ?? (row.open ? Infinity : Number.MAX_VALUE * 2);
  const place = (row) => (row.costs.update ? 0 : row.open ? 1 : 2);
  return [...rows].sort((a, b) => place(a) - place(b) || (place(a) ? 0 : updates(a) - updates(b)));
}

/** "To train loss 22.7", and one part per configuration; the first one is compared with the baseline. */
export function answer(rows, baseline, { measure, target }) {
  const order = ranked(rows);
  const share = MEASURES[measure].share ? `${significant(100 * target, 3)} %` : significant(target, 3);
  const parts = order.map((row, i) => ({ group: row.group, text: partOf(row, baseline, i === 0) }));
  return { head: `To ${MEASURES[measure].label.toLowerCase()} ${share}`, parts };
}

function partOf(row, baseline, first) {
  if (!row.costs.update) return row.open ? "not yet" : "not reached";
  const some = row.reached < row.n ? ` (${row.reached} of ${row.n})` : "";
  const own = significant(row.costs.update.mean, 3);
  const count = first ? `${own} updates` : own;
  const base = baseline?.costs.update?.mean;
  if (!first || row === baseline || !base) return `${count}${some}`;
  const updates = ` (${fraction(row.costs.update.mean / base)} ${baseline.group.label}\u2019s ${significant(base, 3)})`;
  const costs = Object.entries(NOUNS).map(([name, noun]) => {
    const [mine, theirs] = [row.costs[name]?.mean, baseline.costs[name]?.mean];
    return mine && theirs ? `${significant(mine / theirs, 2)} \u00d7 ${noun}` : null;
  });
  return `${count}${some}${updates}${costs.filter(Boolean).map((part) => `, ${part}`).join("")}`;
}
