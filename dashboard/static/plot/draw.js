// Plotly's traces and layout from the store's data and the view. Pure functions.

import { MEASURES, panelsOf, plain, X_AXES } from "../store/measures.js";
import { faint, style } from "./theme.js";
import { PHASES, timeBars, timeOfGroup } from "../store/time_breakdown.js";
import { blockLines, decreases, lines, reasonsOf, stopReasons } from "./traces.js";
import { range, readZoom } from "./zoom.js";

const MAX_BANDS = 24; // filled areas dominate the time of a redraw
const MAX_LINES = 16; // per panel; beyond, each group is one trace, because each trace is slow in plotly, even a short one

/** The number of columns and rows of panels, and the total height. */
export function grid(width, count, layout) {
  const columns = layout === "stack" ? 1 : Math.max(1, Math.min(count, Math.floor(width / 470)));
  const rows = Math.max(1, Math.ceil(count / columns));
  const high = layout === "stack" || width < 500 ? 300 : Math.round(Math.min(520, Math.max(380, (0.45 * width) / columns)));
  return { columns, rows, height: rows * high + 20 };
}

/** Everything Plotly.react needs. */
export function figure({ groups, store, view, theme, width, unit, accuracy, target }) {
  const measures = panelsOf(view, accuracy);
  const { columns, rows, height } = grid(width, measures.length, view.layout);
  const traces = [];
  const shown = groups.filter((group) => !view.hidden.includes(group.key));
  const count = shown.reduce((sum, group) => sum + (view.seeds === "each" ? group.runs.length : 1), 0);
  const crowded = view.seeds === "each" && count > MAX_LINES;
  const layout = baseLayout(view, theme, height, crowded);
  measures.forEach((measure, panel) => {
    const axis = panel ? String(panel + 1) : "";
    const bands = measures.length * count <= MAX_BANDS;
    if (MEASURES[measure].bars) {
      traces.push(...addBars(layout, { shown, store, axis, panel, columns, rows, theme, height, width }));
      return;
    }
    const at = { measure, panel, columns, rows, view, theme, unit, height, width };
    if (MEASURES[measure].words) {
      const drawn = stopReasons({ groups: shown, store, axis, view, theme });
      addAxes(layout, { ...at, extent: drawn.length ? [0, 1] : [1, 0], words: reasonsOf(shown, store) });
      traces.push(...drawn);
      return;
    }
    const draw = measure === "decreases" ? decreases : MEASURES[measure].block ? blockLines : lines;
    const drawn = shown.flatMap((group) => draw({ group, store, measure, axis, view, theme, bands, crowded }));
    addAxes(layout, { ...at, extent: extentOf(drawn) });
    traces.push(...drawn);
    if (target?.measure === measure) layout.shapes.push(targetLine(target.value, axis, theme));
  });
  return { traces, layout };
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

function baseLayout(view, theme, height, crowded) {
  return {
    height,
    margin: { l: 0, r: 0, t: 0, b: 0 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, size: 13, color: theme.text },
    showlegend: false,
    hovermode: !crowded && (view.x === "update" || view.x === "epoch") ? "x unified" : "closest",
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
  const write = (value) => (value >= 1e5 || value < 1e-3 ? value.toExponential(0) : value.toLocaleString("en-US", { maximumFractionDigits: 4 }));
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
function place({ panel, columns, rows, height, width }, left = 58) {
  const [row, column] = [Math.floor(panel / columns), panel % columns];
  const [cell, cellHeight] = [1 / columns, 1 / rows];
  const top = 1 - row * cellHeight - 34 / height;
  return { domainX: [column * cell + left / width, (column + 1) * cell - 12 / width], domainY: [1 - (row + 1) * cellHeight + 50 / height, top] };
}

function title(text, { domainX, domainY }) {
  return {
    text, xref: "paper", yref: "paper", x: domainX[0], y: domainY[1], xanchor: "left", yanchor: "bottom", yshift: 6, showarrow: false,
    font: { size: 14 },
  };
}

/** The panel of time bars: axes without zoom, and each bar's name above it. */
function addBars(layout, { shown, store, axis, theme, ...at }) {
  const timed = shown.map((group) => ({ group, times: timeOfGroup(group, store) })).filter(({ times }) => times);
  const where = place(at, 12);
  const still = { fixedrange: true, zeroline: false, linecolor: theme.border, gridcolor: theme.grid };
  layout[`xaxis${axis}`] = {
    ...still, domain: where.domainX, anchor: `y${axis}`, range: [0, 1], tickformat: ".0%",
    title: { text: "share of the time", standoff: 8, font: { size: 12, color: theme.muted } },
  };
  layout[`yaxis${axis}`] = { ...still, domain: where.domainY, anchor: `x${axis}`, range: [Math.max(0.5, timed.length - 0.5), -0.8], showticklabels: false, showgrid: false };
  layout.barmode = "stack";
  layout.annotations.push(title(`<b>${MEASURES.time.label}</b>`, where));
  if (!timed.length) layout.annotations.push(nothingYet(where.domainX, where.domainY, theme));
  const each = ({ times }) => PHASES.reduce((sum, phase) => sum + times[phase], 0) / times.updates;
  if (timed.length <= 14) timed.forEach((row, i) => layout.annotations.push({
    text: `${plain(row.group.label)} <span style="color:${theme.muted}">${each(row).toPrecision(3)} s per update</span>`, showarrow: false,
    xref: `x${axis}`, yref: `y${axis}`, x: 0, y: i - 0.24, xanchor: "left", yanchor: "bottom", font: { size: 12 },
  }));
  return timed.length ? timeBars(timed, { axis, style, faint, plain, theme }) : [];
}

function addAxes(layout, { measure, panel, columns, rows, view, theme, unit, height, width, extent, words }) {
  const axis = panel ? String(panel + 1) : "";
  const { domainX, domainY } = place({ panel, columns, rows, height, width });
  const lines = { gridcolor: theme.grid, linecolor: theme.border, zeroline: false, tickcolor: theme.border, ticks: "outside" };
  const { label, loss, share, linear, seconds, count } = MEASURES[measure];
  const logY = view.logY && !share && !linear && !words;
  layout[`xaxis${axis}`] = {
    ...lines,
    domain: domainX,
    anchor: `y${axis}`,
    type: view.logX ? "log" : "linear",
    matches: panel ? "x" : undefined,
    title: { text: X_AXES[view.x].title, standoff: 8, font: { size: 12, color: theme.muted } },
    ...range(view.zoom, "x"),
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
    ...range(view.zoom, measure),
    exponentformat: "power",
    nticks: 6,
    ...(logY ? logTicks(extent) : {}),
    ...(count ? { rangemode: "tozero", ...(extent[1] <= 6 ? { dtick: 1 } : {}) } : {}),
    ...(words ? wordTicks(words, readZoom(view.zoom)[measure], theme) : {}),
  };
  const roomy = width / columns > 460; // else the unit stands under the charts
  if (extent[0] > extent[1]) layout.annotations.push(nothingYet(domainX, domainY, theme));
  const said = seconds ? "s an update" : loss && unit && roomy ? plain(unit) : "";
  layout.annotations.push(title(`<b>${label}</b>${said && ` <span style="color:${theme.muted}">[${said}]</span>`}`, { domainX, domainY }));
}

function targetLine(value, axis, theme) {
  return {
    type: "line", xref: `x${axis} domain`, yref: `y${axis}`, x0: 0, x1: 1, y0: value, y1: value,
    line: { color: theme.muted, width: 1.5, dash: "dot" },
  };
}

function nothingYet(domainX, domainY, theme) {
  return {
    text: "no values yet", xref: "paper", yref: "paper", showarrow: false, font: { color: theme.muted },
    x: (domainX[0] + domainX[1]) / 2, y: (domainY[0] + domainY[1]) / 2,
  };
}

