// Plotly's traces and layout from the store's data and the view. Pure functions.

import { MEASURES, panelsOf, plain, X_AXES } from "../store/measures.js";
import { faint, mixed, sized, style } from "./theme.js";
import { PHASES, timeBars, timeOfGroup } from "../store/time_breakdown.js";
import { points } from "../store/series.js";
import { blockLines, decreases, lines, reasonsOf, stopReasons } from "./traces.js";
import { power, significant } from "../store/numbers.js";
import { budgetEnd, extent, leaves, padded } from "./extent.js";
import { apart, LABEL_GAP, labelWidth, longestName, MAX_LABELS, shortened } from "./line_ends.js";
import { range, readZoom } from "./zoom.js";

const MAX_BANDS = 24; // filled areas dominate the time of a redraw
const MAX_MARKS = 6; // words beside marks at a panel's top
const [NARROW, NARROW_LARGE] = [470, 580]; // width of a panel beside others, at least, and with a lecture's text [px]
const LOWEST = 170; // height of a panel that fills the screen, at least [px]
const MAX_LINES = 16; // per panel; beyond, each group is one trace, because each trace is slow in plotly, even a short one

/** The number of columns and rows of panels, and the total height: what is to be filled, or a good one for the width. */
export function grid(width, count, layout, { fill, scale = 1 } = {}) {
  const columns = layout === "stack" ? 1 : Math.max(1, Math.min(count, Math.floor(width / (fill ? NARROW_LARGE : NARROW))));
  const rows = Math.max(1, Math.ceil(count / columns));
  if (fill) return { columns, rows, height: Math.max(fill, rows * LOWEST * scale) };
  const high = layout === "stack" || width < 500 ? 300 : Math.round(Math.min(520, Math.max(380, (0.45 * width) / columns)));
  return { columns, rows, height: rows * high + 20 };
}

/** Everything Plotly.react needs; `panels` are the lines that are read out, `clipped` says whether curves leave the top. */
export function figure({ groups, store, view, theme, width, fill, unit, accuracy, target }) {
  const measures = panelsOf(view, accuracy);
  const { columns, rows, height } = grid(width, measures.length, view.layout, { fill, scale: theme.scale });
  const traces = [];
  const panels = [];
  let clipped = false;
  const shown = groups.filter((group) => !view.hidden.includes(group.key));
  const count = shown.reduce((sum, group) => sum + (view.seeds === "each" ? group.runs.length : 1), 0);
  const crowded = view.seeds === "each" && count > MAX_LINES;
  const layout = baseLayout(theme, height);
  const names = count <= MAX_LABELS || theme.line ? namesOf(shown, view) : []; // a lecture has no legend
  const beside = measures.some((name) => !isSpecial(name)) ? labelWidth(names, width / columns, theme.scale) : 0;
  const xEnd = view.logX ? null : budgetEnd(shown, store, view.x);
  measures.forEach((measure, panel) => {
    const axis = panel ? String(panel + 1) : "";
    const bands = measures.length * count <= MAX_BANDS;
    if (MEASURES[measure].bars) {
      traces.push(...addBars(layout, { shown, store, axis, panel, columns, rows, theme, height, width }));
      return;
    }
    const at = { measure, panel, columns, rows, view, theme, unit, height, width, beside, xEnd };
    if (MEASURES[measure].words) {
      const drawn = stopReasons({ groups: shown, store, axis, view, theme });
      addAxes(layout, { ...at, extent: drawn.length ? [0, 1] : [1, 0], words: reasonsOf(shown, store) });
      layout.hovermode = "closest";
      traces.push(...drawn);
      return;
    }
    const draw = measure === "decreases" ? decreases : MEASURES[measure].block ? blockLines : lines;
    const drawn = shown.flatMap((group) => draw({ group, store, measure, axis, view, theme, bands, crowded }));
    const logY = isLog(measure, view);
    const found = draw === lines ? extent({ groups: shown, store, measure, view, logY }) : null;
    addAxes(layout, { ...at, extent: found ? [found.low, found.high] : extentOf(drawn), fixed: found && padded(found, logY), failed: shown, store });
    if (found) {
      clipped ||= found.clipped;
      const place = { axis, logY, layout, theme, names, measure, beside };
      traces.push(...atTheTop(drawn, { ...place, groups: shown, store, view, top: padded(found, logY)[1] }));
      traces.push(...ends(drawn, place));
    }
    traces.push(...drawn);
    panels.push({ axis, measure, lines: drawn.flatMap((trace) => trace.bhf?.parts ?? (trace.bhf?.main || trace.bhf?.read ? [readable(trace)] : [])) });
    if (target?.measure === measure) layout.shapes.push(targetLine(target.value, axis, theme));
  });
  return { traces, layout, panels, clipped };
}

const isSpecial = (name) => MEASURES[name].bars || MEASURES[name].words || MEASURES[name].block;

/** Whether a panel's y axis is logarithmic. */
function isLog(measure, view) {
  const { share, linear, words } = MEASURES[measure];
  return view.logY && !share && !linear && !words;
}

/** The names beside the curves. */
function namesOf(groups, view) {
  if (view.seeds !== "each") return groups.map(({ label }) => label);
  return groups.flatMap(({ label, runs }) => (runs.length > 1 ? runs.map(({ name }) => name) : [label]));
}

function readable({ x, y, bhf, line, marker, customdata }) {
  return { xs: x, ys: y, notes: customdata, group: bhf.group, label: bhf.label, colour: line?.color ?? marker?.color };
}

const written = (measure, value) => (MEASURES[measure].share ? `${significant(100 * value, 3)} %` : significant(value, 3));

/** A dot at the end of each curve, with its name and value beside it. */
function ends(drawn, { axis, logY, layout, theme, names, measure, beside }) {
  const heads = drawn.filter(({ bhf, x }) => bhf?.main && x.length).map((trace) => ({ ...readable(trace), x: trace.x.at(-1), y: trace.y.at(-1) }));
  const { range: [low, high], domain } = layout[`yaxis${axis}`];
  const height = (domain[1] - domain[0]) * layout.height;
  const [inside, value] = [({ y }) => value(y) >= low && value(y) <= high, (y) => (logY ? Math.log10(y) : y)];
  const seen = heads.filter(inside);
  if (!seen.length) return [];
  const sign = MEASURES[measure].better === "higher" ? -1 : 1;
  const most = Math.min(MAX_LABELS, Math.max(1, Math.floor(height / sized(theme, LABEL_GAP))));
  const told = seen.toSorted((a, b) => sign * (a.y - b.y)).slice(0, most);
  if (beside && names.length) {
    const pixel = told.map(({ y }) => ((high - value(y)) / (high - low)) * height);
    const places = apart(pixel, sized(theme, LABEL_GAP), height);
    const text = ({ label, y }) => (beside < sized(theme, 60) ? written(measure, y) : `<b>${plain(shortened(label, names, longestName(beside, theme.scale)))}</b> ${written(measure, y)}`);
    told.forEach((head, i) => layout.annotations.push({
      text: text(head), xref: `x${axis}`, yref: `y${axis}`, x: layout[`xaxis${axis}`].type === "log" ? Math.log10(head.x) : head.x, y: value(head.y),
      xanchor: "left", yanchor: "middle", xshift: sized(theme, 7), yshift: pixel[i] - places[i], showarrow: false, font: { size: sized(theme, 12.5), color: mixed(head.colour, theme.text, 0.3) }, bgcolor: faint(theme.background, 0.65), borderpad: 0,
    }));
  }
  return [{
    type: "scatter", mode: "markers", xaxis: `x${axis}`, yaxis: `y${axis}`, x: seen.map(({ x }) => x), y: seen.map(({ y }) => y), hoverinfo: "skip",
    showlegend: false, cliponaxis: false, marker: { size: sized(theme, 7), color: seen.map(({ colour }) => colour) },
  }];
}

/** Marks where a run's curve leaves the panel through its top; the mark of its divergence moves there. */
function atTheTop(drawn, { axis, logY, layout, theme, groups, store, view, measure, top }) {
  const marks = [];
  for (const group of groups) for (const run of group.runs) {
    const columns = store.series.get(run.id);
    const line = columns && points(columns, view.x, measure, { logX: view.logX, logY });
    const at = line ? leaves(line, top) : -1;
    if (at < 0) continue;
    const own = drawn.findIndex(({ bhf }) => bhf?.event && bhf.run === run.id);
    const text = own < 0 ? `above ${significant(top, 3)} from update ${line.update[at]}` : drawn[own].bhf.event;
    const trace = own < 0 ? null : drawn.splice(own, 1)[0];
    marks.push({ x: line.x[at], text, name: trace?.name ?? `${plain(group.label)}, ${plain(run.name)}: ${text}`, group: group.key, colour: style(group, theme).colour });
  }
  marks.slice(0, MAX_MARKS).forEach(({ x, text, colour }, i) => layout.annotations.push({
    text, xref: `x${axis}`, yref: `y${axis}`, x: layout[`xaxis${axis}`].type === "log" ? Math.log10(x) : x, y: logY ? Math.log10(top) : top,
    xanchor: "left", yanchor: "top", xshift: 9, yshift: -2 - sized(theme, LABEL_GAP) * i, showarrow: false, font: { size: sized(theme, 12), color: colour }, bgcolor: faint(theme.background, 0.65),
  }));
  return marks.map(({ x, name, group, colour }) => ({
    type: "scatter", mode: "markers", xaxis: `x${axis}`, yaxis: `y${axis}`, x: [x], y: [top], name, hoverinfo: "skip", showlegend: false, cliponaxis: false,
    marker: { symbol: "triangle-up", size: sized(theme, 12), color: colour }, bhf: { group },
  }));
}

function extentOf(traces) {
  let [low, high] = [Infinity, -Infinity];
  for (const { y } of traces) {
    for (const value of y) {
      if (value == null) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}

function baseLayout(theme, height) {
  return {
    height,
    margin: { l: 0, r: 0, t: 0, b: 0 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, size: sized(theme, 13), color: theme.text },
    showlegend: false,
    hovermode: false, // the crosshair reads the lines; plotly's own boxes are for bars and marks
    hoverlabel: { bgcolor: theme.surface, bordercolor: theme.border, font: { color: theme.text }, namelength: -1 },
    dragmode: "zoom",
    annotations: [],
    shapes: [],
  };
}

/** Ticks of a logarithmic axis: at 1, 2, 5 of each power of ten, at every n-th power over many, plotly's own over few. */
export function logTicks([low, high]) {
  if (!(low > 0)) return {};
  const decades = Math.log10(high / low);
  const steps = decades > 3 ? [1] : [1, 2, 5];
  const every = Math.ceil(decades / 8) || 1;
  const tickvals = [];
  for (let power = every * (Math.floor(Math.log10(low) / every) - 2); power <= Math.log10(high) + 2 * every; power += every) {
    for (const step of steps) tickvals.push(Number(`${step}e${power}`));
  }
  if (tickvals.filter((value) => value >= low && value <= high).length < 2) return {}; // too few ticks would be visible
  const powers = high >= 1e6 || low < 1e-3; // one way of writing for the whole axis
  const write = (value) => (powers ? power(value) : value.toLocaleString("en-US", { maximumFractionDigits: 4 }));
  return { tickvals, ticktext: tickvals.map(write) };
}

/** Text ticks above their marks, from top to bottom, inside the panel because the margin fits only numbers. */
function wordTicks(words, zoomed, theme) {
  const ticks = {
    tickfont: { color: theme.text }, // plotly would write inside a panel in the faint colour of the axis
    tickmode: "array", tickvals: words.map((_, i) => i - 0.33), ticktext: words, ticklabelposition: "inside top", ticks: "",
  };
  return zoomed ? ticks : { ...ticks, autorange: false, range: [words.length - 0.6, -0.75] };
}

/** The place of a panel, as fractions of the figure's width and height. */
function place({ panel, columns, rows, height, width, theme, beside = 0 }, left = 58) {
  const part = (pixels, whole) => sized(theme, pixels) / whole;
  const [row, column] = [Math.floor(panel / columns), panel % columns];
  const [cell, cellHeight] = [1 / columns, 1 / rows];
  const top = 1 - row * cellHeight - part(34, height);
  return {
    domainX: [column * cell + part(left, width), (column + 1) * cell - part(12, width) - beside / width],
    domainY: [1 - (row + 1) * cellHeight + part(50, height), top],
  };
}

function title(text, { domainX, domainY }, theme) {
  return {
    text, xref: "paper", yref: "paper", x: domainX[0], y: domainY[1], xanchor: "left", yanchor: "bottom", yshift: 6, showarrow: false,
    font: { size: sized(theme, 14) },
  };
}

/** The panel of time bars: axes without zoom, and each bar's name above it. */
function addBars(layout, { shown, store, axis, theme, ...at }) {
  const timed = shown.map((group) => ({ group, times: timeOfGroup(group, store) })).filter(({ times }) => times);
  const where = place({ ...at, theme }, 12);
  const still = { fixedrange: true, zeroline: false, linecolor: theme.border, gridcolor: theme.grid };
  layout[`xaxis${axis}`] = {
    ...still, domain: where.domainX, anchor: `y${axis}`, range: [0, 1], tickformat: ".0%",
    title: { text: "share of the time", standoff: 8, font: { size: sized(theme, 12), color: theme.muted } },
  };
  layout[`yaxis${axis}`] = { ...still, domain: where.domainY, anchor: `x${axis}`, range: [Math.max(0.5, timed.length - 0.5), -0.8], showticklabels: false, showgrid: false };
  layout.barmode = "stack";
  layout.hovermode = "closest";
  layout.annotations.push(title(`<b>${MEASURES.time.label}</b>`, where, theme));
  if (!timed.length) layout.annotations.push(nothingYet(where.domainX, where.domainY, theme));
  const each = ({ times }) => PHASES.reduce((sum, phase) => sum + times[phase], 0) / times.updates;
  if (timed.length <= 14) timed.forEach((row, i) => layout.annotations.push({
    text: `${plain(row.group.label)} <span style="color:${theme.muted}">${each(row).toPrecision(3)} s per update</span>`, showarrow: false,
    xref: `x${axis}`, yref: `y${axis}`, x: 0, y: i - 0.24, xanchor: "left", yanchor: "bottom", font: { size: sized(theme, 12) },
  }));
  return timed.length ? timeBars(timed, { axis, style, faint, plain, theme }) : [];
}

function addAxes(layout, { measure, panel, columns, rows, view, theme, unit, height, width, beside, extent, fixed, xEnd, words, failed, store }) {
  const axis = panel ? String(panel + 1) : "";
  const { domainX, domainY } = place({ panel, columns, rows, height, width, theme, beside });
  const lines = { gridcolor: theme.grid, linecolor: theme.border, zeroline: false, tickcolor: theme.border, ticks: "outside" };
  const { label, loss, share, seconds, count } = MEASURES[measure];
  const logY = isLog(measure, view);
  const given = fixed && !readZoom(view.zoom)[measure] ? { autorange: false, range: logY ? fixed.map(Math.log10) : fixed } : range(view.zoom, measure);
  layout[`xaxis${axis}`] = {
    ...lines,
    domain: domainX,
    anchor: `y${axis}`,
    type: view.logX ? "log" : "linear",
    matches: panel ? "x" : undefined,
    title: { text: X_AXES[view.x].title, standoff: 8, font: { size: sized(theme, 12), color: theme.muted } },
    ...(xEnd && !readZoom(view.zoom).x ? { autorange: false, range: [0, xEnd] } : range(view.zoom, "x")),
    rangemode: view.logX ? "normal" : "tozero",
    exponentformat: "SI",
    minexponent: 4,
  };
  layout[`yaxis${axis}`] = {
    ...lines,
    domain: domainY,
    anchor: `x${axis}`,
    type: logY ? "log" : "linear",
    tickformat: share ? ".0%" : undefined,
    ...given,
    exponentformat: "power",
    nticks: 6,
    ...(logY ? logTicks(extent) : {}),
    ...(count ? { rangemode: "tozero", ...(extent[1] <= 6 ? { dtick: 1 } : {}) } : {}),
    ...(words ? wordTicks(words, readZoom(view.zoom)[measure], theme) : {}),
  };
  const roomy = width / columns > sized(theme, 460); // else the unit stands under the charts
  if (extent[0] > extent[1]) layout.annotations.push(nothingYet(domainX, domainY, theme, failed && failed.every((group) => group.runs.every(({ id }) => store.runs.get(id)?.final))));
  const said = seconds ? "s an update" : loss && unit && roomy ? plain(unit) : "";
  layout.annotations.push(title(`<b>${label}</b>${said && ` <span style="color:${theme.muted}">[${said}]</span>`}`, { domainX, domainY }, theme));
}

function targetLine(value, axis, theme) {
  return {
    type: "line", xref: `x${axis} domain`, yref: `y${axis}`, x0: 0, x1: 1, y0: value, y1: value,
    line: { color: theme.muted, width: 1.5, dash: "dot" },
  };
}

function nothingYet(domainX, domainY, theme, ended = false) {
  return {
    text: ended ? "no values: the runs ended before the first one" : "no values yet", xref: "paper", yref: "paper", showarrow: false, font: { color: theme.muted },
    x: (domainX[0] + domainX[1]) / 2, y: (domainY[0] + domainY[1]) / 2,
  };
}

