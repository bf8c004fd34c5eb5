// Plotly's traces of one panel from the store's data. Pure functions.

import { MEASURES, plain } from "../store/measures.js";
import { divergence, mean, points, smooth, thin } from "../store/series.js";
import { DASHES, faint, style, thick } from "./theme.js";

/**
 * A group's curves: mean or median with band, individual runs, and marks where one diverged. The property `bhf` of a
 * trace says to which group it belongs, and whether its values are read out and its end has a label.
 */
export function lines({ group, store, measure, axis, view, theme, bands, crowded }) {
  const { colour, dash } = style(group, theme);
  const scale = { logX: view.logX, logY: view.logY && !MEASURES[measure].share };
  const held = group.runs.map((run) => ({ run, columns: store.series.get(run.id) })).filter(({ columns }) => columns);
  const each = held.map(({ run, columns }) => ({ run, columns, line: points(columns, view.x, measure, scale) }));
  const base = { xaxis: `x${axis}`, yaxis: `y${axis}`, type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip", bhf: { group: group.key } };
  const main = { ...base, bhf: { ...base.bhf, main: true, label: group.label } };
  const name = plain(group.label);
  const many = each.length > 1 && view.seeds !== "each";
  const traces = [];
  const faintly = base;
  if (many) {
    const open = each.map(({ run }) => store.runs.get(run.id)?.final === false);
    const centre = mean(each.map(({ line }) => line), store.bucket, view, open);
    if (bands) traces.push(...band(centre, base, faint(colour, 0.17)));
    if (view.smooth) traces.push({ ...faintly, ...stroke(centre.x, centre.y, faint(colour, 0.45), "solid", 1.2) });
    traces.push({
      ...main, ...stroke(centre.x, smooth(centre.y, view.smooth), colour, dash, thick(theme, 2.4)), name: `${name} · ${view.centre} of ${centre.n}`, showlegend: !axis,
      customdata: centre.count.map((count) => `n = ${count}`),
    });
  }
  if (many && view.seeds === "both") traces.push({ ...faintly, ...stroke(...joined(each, 0), faint(colour, 0.4), dash, 1) });
  if (crowded) {
    if (view.smooth) traces.push({ ...faintly, ...stroke(...joined(each, 0), faint(colour, 0.25), "solid", 1) });
    const parts = each.map(({ run, line }) => ({ xs: line.x, ys: smooth(line.y, view.smooth), label: `${group.label} \u00b7 ${run.name}`, group: group.key, colour }));
    const names = gap(each.map(({ run, line }) => new Array(line.x.length).fill(plain(run.name))));
    traces.push({ ...base, ...stroke(...joined(each, view.smooth), colour, dash, thick(theme, 1.5)), name, showlegend: !axis, customdata: names, bhf: { ...base.bhf, parts } });
  }
  for (const { run, line } of many || crowded ? [] : each) {
    const label = group.runs.length > 1 ? `${name} · ${plain(run.name)}` : name;
    if (bands && store.bucket > 1) traces.push(...band(line, base, faint(colour, 0.15)));
    if (view.smooth) traces.push({ ...faintly, ...stroke(line.x, line.y, faint(colour, 0.25), "solid", 1) });
    const bhf = { ...main.bhf, label: group.runs.length > 1 ? run.name : group.label };
    traces.push({ ...main, bhf, ...stroke(line.x, smooth(line.y, view.smooth), colour, dash, thick(theme, 2)), name: label, showlegend: !axis });
  }
  for (const { run, columns } of each) traces.push(...event({ columns, run, view, measure, base, colour, name }));
  return traces;
}

/** One line per block of the group's first run with blocks; dashes distinguish the blocks. */
export function blockLines({ group, store, measure, axis, view, theme }) {
  const { run, columns, count } = solvesOf(group, store);
  const { colour } = style(group, theme);
  const scale = { logX: view.logX, logY: view.logY && !MEASURES[measure].linear };
  return Array.from({ length: count }, (_, block) => {
    const line = points(columns, view.x, `block${block}_${MEASURES[measure].column ?? measure}`, scale);
    const base = { type: "scatter", mode: "lines", showlegend: false, xaxis: `x${axis}`, yaxis: `y${axis}`, hoverinfo: "skip", bhf: { group: group.key } };
    const dash = DASHES[block % DASHES.length];
    const raw = { ...base, ...stroke(line.x, line.y, faint(colour, 0.3), "solid", 1) };
    return [...(view.smooth ? [raw] : []), {
      ...base, ...stroke(line.x, smooth(line.y, view.smooth), colour, dash, thick(theme, 1.6)), name: nameOf(group, run, count > 1 && block),
      customdata: solveNotes(columns, block, line.update), bhf: { group: group.key, read: true, label: nameOf(group, run, count > 1 && block) },
    }];
  }).flat();
}

/** The blocks of the group's first run with blocks, thinned like its curves; a count of 0 if there is none. */
function solvesOf(group, store) {
  const run = group.runs.find(({ id }) => store.blocks.has(id));
  if (!run) return { count: 0 };
  const columns = thinned(store.blocks.get(run.id), store.bucket);
  return { run, columns, count: Object.keys(columns).filter((name) => name.endsWith("_cg_iterations")).length };
}

/** Thin columns once per bucket: several panels use the same blocks at each drawing. */
function thinned(columns, bucket) {
  if (thinnedOf.get(columns)?.bucket !== bucket) thinnedOf.set(columns, { bucket, columns: thin(columns, bucket) });
  return thinnedOf.get(columns).columns;
}

const thinnedOf = new WeakMap();

function nameOf(group, run, block) {
  const parts = [plain(group.label), block === false ? null : `block ${block + 1}`, group.runs.length > 1 ? plain(run.name) : null];
  return parts.filter(Boolean).join(" · ");
}

/** Stop reason and product method of a block at the given updates. */
function solveNotes(columns, block, updates) {
  const words = (i) => [columns[`block${block}_stop_reason`][i], columns[`block${block}_product_method`]?.[i]].filter(Boolean).join(", ");
  const at = new Map(columns.update.map((update, i) => [update, words(i)]));
  return updates.map((update) => at.get(update));
}

/** The stop reasons of all blocks, in the order of their first occurrence. */
export function reasonsOf(groups, store) {
  const found = groups.flatMap((group) => {
    const { columns, count } = solvesOf(group, store);
    return Array.from({ length: count }, (_, block) => columns[`block${block}_stop_reason`]).flat();
  });
  return [...new Set(found.filter(Boolean))];
}

/** One mark per solve at the height of its reason, with a small offset per block. */
export function stopReasons({ groups, store, axis, view, theme }) {
  const height = new Map(reasonsOf(groups, store).map((reason, i) => [reason, i]));
  const blocks = groups.flatMap((group) => {
    const found = solvesOf(group, store);
    return Array.from({ length: found.count }, (_, block) => ({ ...found, group, block }));
  });
  return blocks.map(({ group, run, columns, count, block }, i) => {
    const reasons = columns[`block${block}_stop_reason`];
    const rows = reasons.map((reason, row) => (reason && columns[view.x]?.[row] != null ? row : -1)).filter((row) => row >= 0);
    const apart = (0.5 * (i - (blocks.length - 1) / 2)) / Math.max(1, blocks.length - 1);
    return {
      type: "scatter", mode: "markers", showlegend: false, xaxis: `x${axis}`, yaxis: `y${axis}`, name: nameOf(group, run, count > 1 && block),
      x: rows.map((row) => columns[view.x][row]), y: rows.map((row) => height.get(reasons[row]) + apart),
      marker: { color: style(group, theme).colour, size: 5, symbol: MARKS[block % MARKS.length] },
      customdata: rows.map((row) => reasons[row]), hovertemplate: "%{customdata}", bhf: { group: group.key },
    };
  });
}

const MARKS = ["circle", "square", "diamond", "cross", "triangle-up", "x"];

/** The model's decrease of each block, and as a thick line the decrease of the loss, if reported. */
export function decreases(asked) {
  const blocks = blockLines({ ...asked, measure: "model_decrease" });
  const { group, store, axis, view, theme } = asked;
  const run = group.runs.find(({ id }) => store.blocks.has(id));
  const columns = run && store.series.get(run.id);
  if (!columns) return blocks;
  const line = points(columns, view.x, "loss_decrease", { logX: view.logX, logY: view.logY });
  const loss = {
    ...stroke(line.x, smooth(line.y, view.smooth), style(group, theme).colour, "solid", thick(theme, 3)), type: "scatter", mode: "lines", showlegend: false,
    xaxis: `x${axis}`, yaxis: `y${axis}`, name: `${plain(group.label)} · loss, whole step`, hoverinfo: "skip", opacity: 0.55,
    bhf: { group: group.key, read: true, label: `${group.label} · loss, whole step` },
  };
  return line.x.length ? [...blocks.map((block) => (block.name ? { ...block, name: `${block.name} · model` } : block)), loss] : blocks;
}

/** Concatenate lists with null between them. */
function gap(parts) {
  const all = [];
  parts.forEach((part, i) => {
    if (i) all.push(null);
    for (const value of part) all.push(value);
  });
  return all;
}

/** All lines of a group as one with gaps, because one trace is much faster than many. */
function joined(each, decay) {
  return [gap(each.map(({ line }) => line.x)), gap(each.map(({ line }) => smooth(line.y, decay)))];
}

function stroke(x, y, color, dash, width) {
  return { x, y, line: { color, dash, width }, ...(x.length === 1 ? { mode: "markers", marker: { color, size: 7 } } : {}) };
}

function band({ x, low, high }, base, fillcolor) {
  const quiet = { ...base, x, line: { width: 0 } };
  return [{ ...quiet, y: low }, { ...quiet, y: high, fill: "tonexty", fillcolor }];
}

function event({ columns, run, view, measure, base, colour, name }) {
  const at = divergence(columns, view.x, measure);
  if (!at || at.x == null || at.y == null) return [];
  const text = `${name}${run.name ? ` (${plain(run.name)})` : ""} diverged at update ${at.update}`;
  return [{
    ...base, x: [at.x], y: [at.y], mode: "markers", name: text, text: [text],
    bhf: { ...base.bhf, run: run.id, event: `diverged at ${at.update}`, note: text },
    marker: { symbol: "x", size: 12, color: colour, line: { width: 1.5, color: "#fff" } },
  }];
}
