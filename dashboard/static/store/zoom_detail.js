// Finer data of the zoomed range of the x axis: which updates to read, and in which bucket.

import { bucketFor, slice } from "./series.js";

/** The updates (after, until] of a run in a range of an axis, with one more point at each end; null if there are none. */
export function windowOf(columns, axis, [low, high]) {
  const values = columns?.[axis] ?? [];
  const first = values.findIndex((value) => value >= low);
  const last = values.findLastIndex((value) => value <= high);
  if (first < 0 || last < 0) return null;
  return [columns.update[first - 2] ?? 0, columns.update[Math.min(last + 1, values.length - 1)]];
}

/** The request for finer data, given the known series; null if it would not return finer points. */
export function detailQuery({ ids, series, bucket, fields }, view, zoom) {
  if (!zoom) return null;
  const range = (view.logX ? zoom.map((value) => 10 ** value) : zoom).toSorted((a, b) => a - b);
  const windows = ids.map((id) => [id, windowOf(series.get(id), view.x, range)]).filter(([, found]) => found);
  if (!windows.length) return null;
  const fine = bucketFor(Math.max(...windows.map(([, [after, until]]) => until - after)));
  const key = JSON.stringify([view.x, range, fine, windows, fields]);
  return fine < bucket ? { key, axis: view.x, range, bucket: fine, windows: new Map(windows) } : null;
}

/** The known data, with the finer ones in their place if these cover the visible range. */
export function withDetail(store, detail, view, zoom) {
  const range = zoom && (view.logX ? zoom.map((value) => 10 ** value) : zoom).toSorted((a, b) => a - b);
  const serves = detail && range && detail.axis === view.x && detail.range[0] <= range[0] && range[1] <= detail.range[1];
  if (!serves) return store;
  const { series, bucket, windows } = detail;
  const blocks = [...store.blocks].map(([id, columns]) => [id, slice(columns, ...(windows.get(id) ?? [0, 0]))]);
  return { runs: store.runs, bucket, series: new Map([...store.series, ...series]), blocks: new Map(blocks) };
}
