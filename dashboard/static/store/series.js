// Columns of runs: choosing the bucket, joining increments, means over seeds. Pure functions.

const POINTS = 400; // about as many as a panel can show

/** Width of a bucket, a power of two, such that `lastUpdate` updates make at most about POINTS points. */
export function bucketFor(lastUpdate) {
  return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, lastUpdate) / POINTS)));
}

/** Replace the buckets that `got` repeats and append the new ones, in place if the columns are the same. */
export function join(held, got, bucket) {
  if (!got.update?.length) return held;
  if (!held) return columnsOf(got);
  const first = Math.floor(got.update[0] / bucket);
  let keep = held.update.length;
  while (keep > 0 && Math.floor(held.update[keep - 1] / bucket) >= first) keep -= 1;
  const joined = {};
  for (const [name, column] of Object.entries(columnsOf(got))) {
    joined[name] = held[name] ?? [];
    joined[name].length = Math.min(keep, joined[name].length);
    for (const value of column) joined[name].push(value);
  }
  return joined;
}

function columnsOf(got) {
  return Object.fromEntries(Object.entries(got).filter(([, value]) => Array.isArray(value)));
}

/** Points of one line: rows where the measure was evaluated and finite, and positive on a log axis. */
export function points(columns, x, y, { logX = false, logY = false } = {}) {
  const line = { x: [], y: [], low: [], high: [], update: [] };
  const [xs, ys] = [columns[x], columns[y]];
  if (!xs || !ys) return line;
  for (let i = 0; i < ys.length; i += 1) {
    if (ys[i] == null || xs[i] == null || (logY && ys[i] <= 0) || (logX && xs[i] <= 0)) continue;
    line.x.push(xs[i]);
    line.y.push(ys[i]);
    line.low.push(columns[`${y}_min`]?.[i] ?? ys[i]);
    line.high.push(columns[`${y}_max`]?.[i] ?? ys[i]);
    line.update.push(columns.update[i]);
  }
  return line;
}

/** The first update that was not finite, with the last finite value before it; null if there is none. */
export function divergence(columns, x, y) {
  const flags = columns.diverged_max ?? columns.diverged;
  const at = flags ? flags.findIndex((flag) => flag) : -1;
  if (at < 0) return null;
  let before = at;
  while (before >= 0 && columns[y]?.[before] == null) before -= 1;
  return { update: columns.update[at], x: columns[x]?.[at], y: before < 0 ? null : columns[y][before] };
}

const T975 = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]; // Student's t, by degrees of freedom

/**
 * Mean or median of several lines at equal buckets of updates, with a band and the number of lines at each point.
 * A line that is `open` (its run has not ended) is ignored at points that it has not reached. If another line has no
 * value, because its run ended or diverged, there is no mean: it would be a mean of the survivors.
 * centre: "mean" or "median". band: "range" (minimum to maximum), "deviation" (one standard deviation about the mean),
 * "confidence" (95 % of the mean).
 */
export function mean(lines, bucket, { band, centre = "mean" }, open = []) {
  const started = lines.map((line, i) => ({ ...line, open: Boolean(open[i]) })).filter((line) => line.x.length);
  const result = { x: [], y: [], low: [], high: [], count: [], n: started.length };
  if (!started.length) return result;
  const maps = started.map((line) => new Map(line.update.map((update, i) => [Math.floor(update / bucket), i])));
  for (const key of [...new Set(maps.flatMap((map) => [...map.keys()]))].sort((a, b) => a - b)) {
    const at = maps.map((map) => map.get(key));
    const arrived = started.map((line, i) => ({ line, row: at[i] })).filter(({ row }) => row !== undefined);
    if (started.some((line, i) => at[i] === undefined && !(line.open && key * bucket > line.update.at(-1)))) continue;
    const values = arrived.map(({ line, row }) => line.y[row]);
    const [low, high] = spread(values, average(values), band);
    result.x.push(average(arrived.map(({ line, row }) => line.x[row])));
    result.count.push(arrived.length);
    result.y.push(centre === "median" ? median(values) : average(values));
    result.low.push(low);
    result.high.push(high);
  }
  return result;
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The 97.5 % quantile of Student's t; beyond the table by an expansion in 1/f (error 0.002 at f = 11). */
function t975(freedom) {
  return T975[freedom] ?? 1.95996 + 2.37227 / freedom + 2.8225 / freedom ** 2;
}

function spread(values, centre, band) {
  if (values.length < 2 || band === "range") return [Math.min(...values), Math.max(...values)];
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1);
  let half = Math.sqrt(variance);
  if (band === "confidence") half *= t975(values.length - 1) / Math.sqrt(values.length);
  return [centre - half, centre + half];
}

/** Exponential moving average with weight `decay` on the past and bias correction; 0 returns the values. */
export function smooth(values, decay) {
  if (!decay) return values;
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    sum = decay * sum + (1 - decay) * value;
    weight = decay * weight + (1 - decay);
    return sum / weight;
  });
}

/** The rows of the updates (after, until]. */
export function slice(columns, after, until) {
  const rows = columns.update.map((update, i) => (update > after && update <= until ? i : -1)).filter((i) => i >= 0);
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, rows.map((i) => column[i])]));
}

/** Thin columns like the backend: per bucket the mean of measures, and the last value of axes and texts. */
export function thin(columns, bucket) {
  if (bucket <= 1) return columns;
  const starts = columns.update.map((update, i) => [Math.floor(update / bucket), i]).filter(([key], i, all) => !i || all[i - 1][0] !== key);
  const thinned = {};
  for (const [name, column] of Object.entries(columns)) {
    thinned[name] = starts.map(([, start], i) => {
      const part = column.slice(start, starts[i + 1]?.[1] ?? column.length);
      const numbers = part.filter((value) => typeof value === "number");
      if (!name.startsWith("block") || !numbers.length) return part.at(-1);
      return average(numbers);
    });
  }
  return thinned;
}
