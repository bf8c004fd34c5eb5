// Configurations ranked by their best values, for the leaderboard. Pure functions.

import { MEASURES } from "./measures.js";
import { spread } from "./time_to_target.js";

/** One row per group: mean and range of its runs' best values, how many runs finished, failed and are open. */
export function ranking(groups, runs, measure) {
  const rows = groups.map((group) => {
    const known = group.runs.map(({ id }) => runs.get(id)).filter(Boolean);
    const count = (test) => known.filter(test).length;
    return {
      group,
      value: spread(known.filter(({ status }) => status !== "failed").map(({ summary }) => summary[`best_${measure}`])),
      n: group.runs.length,
      finished: count(({ status }) => status === "finished"),
      failed: count(({ status }) => status === "failed"),
      open: count(({ final }) => !final),
    };
  });
  const sign = MEASURES[measure].better === "higher" ? -1 : 1;
  rows.sort((a, b) => (a.value == null) - (b.value == null) || (a.value ? sign * (a.value.mean - b.value.mean) : 0));
  const sound = rows.filter(({ value, failed }) => value && !failed);
  const best = sound[0] ?? rows.find(({ value }) => value);
  return rows.map((row) => ({ ...row, best: row === best }));
}
