// The range of a panel's y axis, which runs that diverged do not widen, and where their curves leave it. Pure functions.

import { MEASURES } from "../store/measures.js";
import { divergence, points } from "../store/series.js";

const ABOVE_START = 1.5; // a loss is drawn up to this multiple of the first losses

/** Whether a run diverged: an update was not finite, or its loss failed at a value far above its first one. */
export function escaped(run, columns) {
  return Boolean(divergence(columns, "update", "train_loss")) || run?.status === "failed";
}

/** The largest and smallest value of the groups' runs to draw, and whether values lie above; null if there are no values. */
export function extent({ groups, store, measure, view, logY }) {
  const each = groups.flatMap((group) => group.runs).map(({ id }) => [store.runs.get(id), store.series.get(id)]).filter(([, columns]) => columns)
    .map(([run, columns]) => ({ line: points(columns, view.x, measure, { logX: view.logX, logY }), lost: escaped(run, columns) }))
    .filter(({ line }) => line.y.length);
  if (!each.length) return null;
  const values = ({ line }) => [...line.low, ...line.high];
  const all = bounds(each.flatMap(values));
  if (view.full) return { ...all, clipped: false };
  const sound = each.filter(({ lost }) => !lost);
  let { low, high } = sound.length ? bounds(sound.flatMap(values)) : all;
  if (MEASURES[measure].loss) {
    const first = Math.max(...(sound.length ? sound : each).map(({ line }) => line.y[0]));
    if (first > 0) high = Math.min(high, ABOVE_START * first);
    low = Math.min(low, high);
  }
  return { low, high, clipped: all.high > padded({ low, high }, logY)[1] * (1 + 1e-9) };
}

function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

/** The ends of an axis around a range, in the axis's own values (not logarithms). */
export function padded({ low, high }, log) {
  if (log) {
    const share = low === high ? 1.3 : (high / low) ** 0.05;
    return [low / share, high * share];
  }
  const more = high === low ? Math.abs(high) * 0.1 || 1 : 0.05 * (high - low);
  return [low - more, high + more];
}

/** Where a line first leaves the panel through its top: its index; -1 if it does not. */
export function leaves(line, top) {
  return line.y.findIndex((value) => value > top);
}

/** The end of the x axis: the budget of runs that have not ended, and what the others did; null if it is not known. */
export function budgetEnd(groups, store, x) {
  const ends = groups.flatMap((group) => group.runs).map(({ id }) => {
    const [run, columns] = [store.runs.get(id), store.series.get(id)];
    if (!run) return null;
    const { updates } = run.config.budget;
    const last = columns?.[x]?.at(-1) ?? 0;
    if (run.final) return last;
    if (x === "update") return updates ?? null;
    if (x !== "epoch" && x !== "samples") return null;
    const done = columns?.update.at(-1);
    return updates && done ? (last * updates) / done : null;
  });
  if (!ends.length || ends.some((end) => end == null)) return null;
  return Math.max(...ends) || null;
}
