// The cost at which each configuration reaches a target. Pure functions.

import { fraction } from "./fractions.js";
import { costAxes, MEASURES } from "./measures.js";
import { significant } from "./numbers.js";


/** Whether higher is better. */
export const rises = (measure) => MEASURES[measure].better === "higher";

function best(columns, measure) {
  const name = `${measure}_${rises(measure) ? "max" : "min"}`;
  return columns?.[name] ?? columns?.[measure] ?? [];
}

/** The first point at which a run's measure has reached the target; null if it has not. */
export function reach(columns, measure, target) {
  const up = rises(measure);
  const at = best(columns, measure).findIndex((value) => value != null && (up ? value >= target : value <= target));
  return at < 0 ? null : Object.fromEntries(costAxes().map((name) => [name, columns[name]?.[at] ?? null]));
}

/**
 * The worst of the runs' best values: the hardest target that every finished run has reached. Runs that failed or ended
 * above their start do not count; before one has finished, the others do.
 */
export function defaultTarget(ids, series, measure, runs = new Map()) {
  const up = rises(measure);
  const sound = ids.filter(({ id }) => runs.get(id)?.status !== "failed" && !endedAbove(runs.get(id), series.get(id)));
  const finished = sound.filter(({ id }) => runs.get(id)?.status === "finished");
  const bests = (finished.length ? finished : sound)
    .map(({ id }) => best(series.get(id), measure).filter((value) => value != null))
    .filter((values) => values.length)
    .map((values) => values.reduce((a, b) => (up ? Math.max(a, b) : Math.min(a, b))));
  if (!bests.length) return null;
  return up ? Math.min(...bests) : Math.max(...bests);
}

/** The first and last training loss of a finished run that ended above its start; null for every other run. */
export function endedAbove(run, columns) {
  if (run?.status !== "finished") return null;
  const known = (columns?.train_loss ?? []).filter((value) => value != null);
  return known.length > 1 && known.at(-1) > known[0] ? { first: known[0], last: known.at(-1) } : null;
}

/** One row per group: how many seeds reached the target, and the mean, minimum and maximum of the costs. */
export function targetRows(groups, series, runs, measure, target) {
  return groups.map((group) => {
    const points = group.runs.map(({ id }) => reach(series.get(id), measure, target));
    const reached = points.filter((point) => point);
    const open = group.runs.filter(({ id }, i) => !points[i] && !runs.get(id)?.final).length;
    const costs = Object.fromEntries(costAxes().map((name) => [name, spread(reached.map((point) => point[name]))]));
    return { group, n: group.runs.length, reached: reached.length, open, missed: group.runs.length - reached.length - open, costs };
  });
}

/** The costs to show; processor time only if a run reported it. */
export function costsToShow(rows) {
  return costAxes().filter((name) => name !== "cpu_seconds" || rows.some(({ costs }) => costs.cpu_seconds));
}

/** Mean, minimum and maximum of the known values; null if there are none. */
export function spread(values) {
  const known = values.filter((value) => value != null);
  if (!known.length) return null;
  return { mean: known.reduce((a, b) => a + b, 0) / known.length, low: Math.min(...known), high: Math.max(...known) };
}

/** Describe how many seeds reached the target. */
export function outcome({ n, reached, open, missed }) {
  const parts = [];
  if (reached) parts.push(n === 1 ? "reached" : `reached by ${reached} of ${n}`);
  if (open) parts.push(reached || missed ? `${open} still running` : "still running");
  if (missed) parts.push(reached || open ? `${missed} not within the budget` : "not reached within the budget");
  return parts.join(", ");
}

const NOUNS = { update: "updates", seconds: "time", cpu_seconds: "CPU time", cost: "compute" };

/** Compare with the baseline in words: "1/4 of the updates, 2.1 \u00d7 the time". */
export function compared(row, baseline) {
  const parts = Object.keys(NOUNS).map((name) => {
    const [own, base] = [row.costs[name]?.mean, baseline?.costs[name]?.mean];
    if (!own || !base) return null;
    const ratio = own / base;
    const noun = NOUNS[name];
    if (Math.abs(ratio - 1) < 0.05) return `about equal ${noun}`;
    return ratio < 1 ? `${fraction(ratio)} the ${noun}` : `${significant(ratio, 2)} \u00d7 the ${noun}`;
  });
  return parts.filter(Boolean).join(", ");
}
