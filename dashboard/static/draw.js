// From what the store holds and what the view asks to plotly's traces and layout. Pure functions, no page.

import { divergence, mean, points, smooth, thin } from "./series.js";
import { PHASES, timeBars, timeOfGroup } from "./time.js";

export const X_AXES = {
  update: { label: "Updates", title: "updates" },
  epoch: { label: "Epochs", title: "epochs" },
  seconds: { label: "Seconds", title: "training time [s]" },
  cpu_seconds: { label: "CPU seconds", title: "processor time of training [s]" },
  cost: { label: "Cost", title: "cost [gradients of one batch]" },
  samples: { label: "Images", title: "images drawn" },
};

export const MEASURES = {
  train_loss: { label: "Train loss", loss: true },
  test_loss: { label: "Test loss", loss: true },
  test_accuracy: { label: "Test accuracy", share: true },
  batch_loss: { label: "Batch loss", loss: true },
  gradient_norm: { label: "Gradient norm" },
  step_norm: { label: "Step norm" },
  gradient_seconds: { label: "Gradient time", seconds: true },
  curvature_seconds: { label: "Curvature time", seconds: true },
  evaluation_seconds: { label: "Evaluation time", seconds: true },
  scale: { label: "Share of the step", share: true },
  reduction_ratio: { label: "Reduction ratio", linear: true },
  cg_iterations: { label: "CG iterations", block: true, linear: true },
  residual: { label: "CG residual", block: true },
  model_decrease: { label: "Model decrease", block: true },
  ritz_max: { label: "Largest Ritz value", block: true },
  ritz_min: { label: "Smallest Ritz value", block: true },
  cost: { label: "Cost of the solve", block: true },
  decreases: { label: "Model and loss decrease", block: true, fields: ["loss_decrease"] },
  time: { label: "Where the time goes", bars: true, fields: ["gradient_seconds", "curvature_seconds", "evaluation_seconds"] },
};

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const MAX_BANDS = 24; // filled areas are what costs in a redraw
const MAX_LINES = 16; // of a panel; beyond, each group's lines are one trace: plotly takes long for each trace, however short

/** Plotly reads tags and entities in texts; a name must stay a name. */
export function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Colour and dash of a configuration: the optimizer gives the colour, the variant the dash. */
export function style(group, theme) {
  const colours = theme.colours;
  const colour = colours[group.kind] ?? theme.others[group.variant % theme.others.length];
  return { colour, dash: DASHES[group.variant % DASHES.length] };
}

function faint(colour, alpha) {
  const value = Number.parseInt(colour.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

/** How many panels stand side by side, and how high all rows are together. */
export function grid(width, count) {
  const columns = Math.max(1, Math.min(count, Math.floor(width / 470)));
  return { columns, rows: Math.ceil(count / columns), height: 0 };
}

/** The fields to ask the backend for: what is drawn, over what, and what the target is of; blocks are asked for apart. */
export function fieldsOf(view) {
  const fields = ([name, { block, fields: own }]) => own ?? (block ? [] : [name]);
  const named = [...new Set([...view.panels, view.targetOf])].filter((name) => MEASURES[name]);
  const axis = view.x === "update" ? [] : [view.x];
  return [...new Set([...named.flatMap((name) => fields([name, MEASURES[name]])), ...axis])];
}

/** The measures to draw; an accuracy only where there is one. */
export function panelsOf(view, accuracy) {
  return view.panels.filter((name) => MEASURES[name] && (accuracy || name !== "test_accuracy"));
}

/** Everything Plotly.react needs. */
export function figure({ groups, store, view, theme, width, unit, accuracy, target }) {
  const measures = panelsOf(view, accuracy);
  const { columns, rows } = grid(width, measures.length);
  const height = Math.max(1, rows) * (width < 500 ? 300 : 380) + 20;
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
    const draw = measure === "decreases" ? decreases : MEASURES[measure].block ? blockLines : lines;
    const drawn = shown.flatMap((group) => draw({ group, store, measure, axis, view, theme, bands, crowded }));
    addAxes(layout, { measure, panel, columns, rows, view, theme, unit, height, width, extent: extentOf(drawn) });
    traces.push(...drawn);
    if (target?.measure === measure) layout.shapes.push(targetLine(target.value, axis, theme));
  });
  return { traces, layout };
}

/** Read the zoomed ranges from their place in the URL: "x:0:50,train_loss:1:2". */
export function readZoom(text) {
  const found = {};
  for (const part of (text ?? "").split(",")) {
    const [name, low, high] = part.split(":");
    const ends = [Number.parseFloat(low), Number.parseFloat(high)];
    if (name && ends.every(Number.isFinite)) found[name] = ends;
  }
  return found;
}

/** Write zoomed ranges as a part of the URL. */
export function writeZoom(zoom) {
  const parts = Object.entries(zoom).map(([name, [low, high]]) => `${name}:${+low.toPrecision(7)}:${+high.toPrecision(7)}`);
  return parts.join(",");
}

function range(zoom, name) {
  const ends = readZoom(zoom)[name];
  return ends ? { range: ends, autorange: false } : { autorange: true };
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

/** Ticks of a logarithmic axis at 1, 2, 5 of each power of ten; at the powers alone where the values span many; plotly's own where few. */
export function logTicks([low, high]) {
  if (!(low > 0)) return {};
  const steps = Math.log10(high / low) > 3 ? [1] : [1, 2, 5];
  const tickvals = [];
  for (let power = Math.floor(Math.log10(low)) - 2; power <= Math.log10(high) + 2; power += 1) {
    for (const step of steps) tickvals.push(Number(`${step}e${power}`));
  }
  if (tickvals.filter((value) => value >= low && value <= high).length < 2) return {}; // too little of the scale to be told by these
  const write = (value) => (value >= 1e5 || value < 1e-3 ? value.toExponential(0) : value.toLocaleString("en-US", { maximumFractionDigits: 4 }));
  return { tickvals, ticktext: tickvals.map(write) };
}

/** Where a panel stands in the figure, in shares of its width and height. */
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

/** The panel of where the time goes: its own axes, which do not zoom, and each bar's name above it. */
function addBars(layout, { shown, store, axis, theme, ...at }) {
  const told = shown.map((group) => ({ group, times: timeOfGroup(group, store) })).filter(({ times }) => times);
  const where = place(at, 12);
  const still = { fixedrange: true, zeroline: false, linecolor: theme.border, gridcolor: theme.grid };
  layout[`xaxis${axis}`] = {
    ...still, domain: where.domainX, anchor: `y${axis}`, range: [0, 1], tickformat: ".0%",
    title: { text: "share of the time", standoff: 8, font: { size: 12, color: theme.muted } },
  };
  layout[`yaxis${axis}`] = { ...still, domain: where.domainY, anchor: `x${axis}`, range: [Math.max(0.5, told.length - 0.5), -0.8], showticklabels: false, showgrid: false };
  layout.barmode = "stack";
  layout.annotations.push(title(`<b>${MEASURES.time.label}</b>`, where));
  if (!told.length) layout.annotations.push(nothingYet(where.domainX, where.domainY, theme));
  const each = ({ times }) => PHASES.reduce((sum, phase) => sum + times[phase], 0) / times.updates;
  if (told.length <= 14) told.forEach((row, i) => layout.annotations.push({
    text: `${plain(row.group.label)} <span style="color:${theme.muted}">${each(row).toPrecision(3)} s an update</span>`, showarrow: false,
    xref: `x${axis}`, yref: `y${axis}`, x: 0, y: i - 0.24, xanchor: "left", yanchor: "bottom", font: { size: 12 },
  }));
  return told.length ? timeBars(told, { axis, style, faint, plain, theme }) : [];
}

function addAxes(layout, { measure, panel, columns, rows, view, theme, unit, height, width, extent }) {
  const axis = panel ? String(panel + 1) : "";
  const { domainX, domainY } = place({ panel, columns, rows, height, width });
  const lines = { gridcolor: theme.grid, linecolor: theme.border, zeroline: false, tickcolor: theme.border, ticks: "outside" };
  const { label, loss, share, linear, seconds } = MEASURES[measure];
  const logY = view.logY && !share && !linear;
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
  };
  const roomy = width / columns > 460; // else the unit stands under the charts
  if (extent[0] > extent[1]) layout.annotations.push(nothingYet(domainX, domainY, theme));
  const words = seconds ? "s an update" : loss && unit && roomy ? plain(unit) : "";
  layout.annotations.push(title(`<b>${label}</b>${words && ` <span style="color:${theme.muted}">[${words}]</span>`}`, { domainX, domainY }));
}

function lines({ group, store, measure, axis, view, theme, bands, crowded }) {
  const { colour, dash } = style(group, theme);
  const scale = { logX: view.logX, logY: view.logY && !MEASURES[measure].share };
  const held = group.runs.map((run) => ({ run, columns: store.series.get(run.id) })).filter(({ columns }) => columns);
  const each = held.map(({ run, columns }) => ({ run, columns, line: points(columns, view.x, measure, scale) }));
  const base = { xaxis: `x${axis}`, yaxis: `y${axis}`, type: "scatter", mode: "lines", showlegend: false, hovertemplate: hover(measure) };
  const name = plain(group.label);
  const many = each.length > 1 && view.seeds !== "each";
  const traces = [];
  if (many) {
    const open = each.map(({ run }) => ["queued", "running", "paused"].includes(store.runs.get(run.id)?.status));
    const centre = mean(each.map(({ line }) => line), store.bucket, view.band, open);
    if (bands) traces.push(...band(centre, base, faint(colour, 0.17)));
    traces.push({ ...base, ...stroke(centre.x, smooth(centre.y, view.smooth), colour, dash, 2.4), name: `${name} · ${view.band === "median" ? "median" : "mean"} of ${centre.n}`, showlegend: !axis, customdata: centre.count, hovertemplate: `${hover(measure)} (n = %{customdata})` });
  }
  const faintly = { ...base, hoverinfo: "skip", hovertemplate: undefined };
  if (many && view.seeds === "both") traces.push({ ...faintly, ...stroke(...joined(each, view.smooth), faint(colour, 0.4), dash, 1) });
  if (crowded) {
    if (view.smooth) traces.push({ ...faintly, ...stroke(...joined(each, 0), faint(colour, 0.25), "solid", 1) });
    const names = gap(each.map(({ run, line }) => new Array(line.x.length).fill(plain(run.name))));
    const hovertemplate = `${hover(measure)}<extra>${name} · %{customdata}</extra>`;
    traces.push({ ...base, ...stroke(...joined(each, view.smooth), colour, dash, 1.5), name, showlegend: !axis, customdata: names, hovertemplate });
  }
  for (const { run, line } of many || crowded ? [] : each) {
    const label = group.runs.length > 1 ? `${name} · ${plain(run.name)}` : name;
    if (bands && store.bucket > 1) traces.push(...band(line, base, faint(colour, 0.15)));
    if (view.smooth) traces.push({ ...faintly, ...stroke(line.x, line.y, faint(colour, 0.25), "solid", 1) });
    traces.push({ ...base, ...stroke(line.x, smooth(line.y, view.smooth), colour, dash, 2), name: label, showlegend: !axis });
  }
  for (const { run, columns } of each) traces.push(...event({ columns, run, view, measure, base, colour, name }));
  return traces;
}

function targetLine(value, axis, theme) {
  return {
    type: "line", xref: `x${axis} domain`, yref: `y${axis}`, x0: 0, x1: 1, y0: value, y1: value, editable: true,
    line: { color: theme.muted, width: 1.5, dash: "dot" },
  };
}

function nothingYet(domainX, domainY, theme) {
  return {
    text: "no values yet", xref: "paper", yref: "paper", showarrow: false, font: { color: theme.muted },
    x: (domainX[0] + domainX[1]) / 2, y: (domainY[0] + domainY[1]) / 2,
  };
}

/** One line per block, of the group's first seed that has any: dashes tell the blocks apart. */
function blockLines({ group, store, measure, axis, view, theme }) {
  const run = group.runs.find(({ id }) => store.blocks.has(id));
  if (!run) return [];
  const columns = thin(store.blocks.get(run.id), store.bucket);
  const count = Object.keys(columns).filter((name) => name.endsWith("_cg_iterations")).length;
  const { colour } = style(group, theme);
  const scale = { logX: view.logX, logY: view.logY && !MEASURES[measure].linear };
  return Array.from({ length: count }, (_, block) => {
    const line = points(columns, view.x, `block${block}_${measure}`, scale);
    const words = (i) => [columns[`block${block}_stop_reason`][i], columns[`block${block}_way`]?.[i]].filter(Boolean).join(", ");
    const at = new Map(columns.update.map((update, i) => [update, words(i)]));
    const name = [plain(group.label), count > 1 ? `block ${block + 1}` : null, group.runs.length > 1 ? plain(run.name) : null];
    return {
      ...stroke(line.x, line.y, colour, DASHES[block % DASHES.length], 1.6), type: "scatter", mode: "lines", showlegend: false,
      xaxis: `x${axis}`, yaxis: `y${axis}`, name: name.filter(Boolean).join(" · "),
      customdata: line.update.map((update) => at.get(update)), hovertemplate: "%{y:.4~g} (%{customdata})",
    };
  });
}

/** The model's decrease of each block, and, thick, the loss's by the whole step where the run tells it. */
function decreases(asked) {
  const blocks = blockLines({ ...asked, measure: "model_decrease" });
  const { group, store, axis, view, theme } = asked;
  const run = group.runs.find(({ id }) => store.blocks.has(id));
  const columns = run && store.series.get(run.id);
  if (!columns) return blocks;
  const line = points(columns, view.x, "loss_decrease", { logX: view.logX, logY: view.logY });
  const loss = {
    ...stroke(line.x, line.y, style(group, theme).colour, "solid", 3), type: "scatter", mode: "lines", showlegend: false, xaxis: `x${axis}`,
    yaxis: `y${axis}`, name: `${plain(group.label)} · loss, whole step`, hovertemplate: "%{y:.4~g}", opacity: 0.55,
  };
  return line.x.length ? [...blocks.map((block) => ({ ...block, name: `${block.name} · model` })), loss] : blocks;
}

/** Lists one after another, with null between them. */
function gap(parts) {
  const all = [];
  parts.forEach((part, i) => {
    if (i) all.push(null);
    for (const value of part) all.push(value);
  });
  return all;
}

/** All lines of a group as one, with gaps between them: one trace is drawn much faster than many. */
function joined(each, decay) {
  return [gap(each.map(({ line }) => line.x)), gap(each.map(({ line }) => smooth(line.y, decay)))];
}

function stroke(x, y, color, dash, width) {
  return { x, y, line: { color, dash, width }, ...(x.length === 1 ? { mode: "markers", marker: { color, size: 7 } } : {}) };
}

function band({ x, low, high }, base, fillcolor) {
  const quiet = { ...base, x, hoverinfo: "skip", hovertemplate: undefined, line: { width: 0 } };
  return [{ ...quiet, y: low }, { ...quiet, y: high, fill: "tonexty", fillcolor }];
}

function hover(measure) {
  return MEASURES[measure].share ? "%{y:.2%}" : "%{y:.4~g}";
}

function event({ columns, run, view, measure, base, colour, name }) {
  const at = divergence(columns, view.x, measure);
  if (!at || at.x == null || at.y == null) return [];
  const text = `${name}${run.name ? ` (${plain(run.name)})` : ""} diverged at update ${at.update}`;
  return [{
    ...base, x: [at.x], y: [at.y], mode: "markers", name: text, text: [text], hovertemplate: "%{text}<extra></extra>",
    marker: { symbol: "x", size: 12, color: colour, line: { width: 1.5, color: "#fff" } },
  }];
}
