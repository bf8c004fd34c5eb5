// What is drawn of which runs, as plotly gets it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./modules.mjs";

const { axisOf, opacities } = await load("brush");
const { figure, logTicks } = await load("draw");
const { fieldsOf, plain } = await load("measures");
const { picked } = await load("filter");
const { inOrder } = await load("order");
const { adviceOf, linkOf } = await load("share");
const { LECTURE, style } = await load("theme");
const { pinched } = await load("touch");
const { readZoom, writeZoom } = await load("zoom");

const VIEW = {
  x: "update", panels: ["train_loss"], seeds: "both", centre: "mean", band: "range", layout: "grid",
  hidden: [], smooth: 0, logX: false, logY: true, zoom: "",
};

const seeds = (count) => [...Array(count).keys()].map((i) => ({ id: `r${i}`, seed: i, name: `seed ${i}` }));

/** The figure of one group of runs whose train loss falls from 3 to 1; the first one has the blocks. */
function drawn(view, runs, blocks) {
  const series = new Map(runs.map(({ id }) => [id, { update: [1, 2, 3], train_loss: [3, 2, 1] }]));
  const store = { series, runs: new Map(), blocks: new Map(blocks ? [[runs[0].id, blocks]] : []), bucket: 1 };
  const theme = { colours: { bhf: "#000000" }, others: ["#111111"], text: "#222222", background: "#ffffff" };
  const groups = [{ key: "g", label: "BHF", kind: "bhf", variant: 0, runs }];
  const found = figure({ groups, store, view: { ...VIEW, ...view }, theme, width: 900 });
  return { ...found, traces: found.traces.filter((trace) => trace.bhf), dots: found.traces.filter((trace) => !trace.bhf) };
}

for (const shown of ["both", "band", "each"]) {
  test(`smoothing with seeds as "${shown}" keeps what was measured, and each seed's own line`, () => {
    const { traces } = drawn({ smooth: 0.9, seeds: shown }, seeds(2));
    const measured = (trace) => String(trace.y.slice(0, 3)) === "3,2,1";
    const smoothed = traces.filter((trace) => !measured(trace) && !trace.y.includes(null));
    const raw = traces.filter((trace) => measured(trace) && !("fill" in trace) && trace.line.width);
    assert.equal(smoothed.length, shown === "each" ? 2 : 1);
    assert.equal(raw.length, shown === "band" ? 1 : 2);
  });
}

test("each stop reason has its tick, and two blocks' marks are apart; panels may be in one column", () => {
  const blocks = {
    update: [1, 2], block0_cg_iterations: [3, 4], block1_cg_iterations: [3, 4],
    block0_stop_reason: ["iterations", "progress"], block1_stop_reason: ["progress", "progress"],
  };
  const { traces, layout } = drawn({ panels: ["train_loss", "stop_reason"], layout: "stack" }, seeds(1), blocks);
  assert.deepEqual(traces.slice(1).map((trace) => [trace.name, trace.y, trace.customdata]), [
    ["BHF · block 1", [-0.25, 0.75], ["iterations", "progress"]],
    ["BHF · block 2", [1.25, 1.25], ["progress", "progress"]],
  ]);
  assert.deepEqual(layout.yaxis2.ticktext, ["iterations", "progress"]);
  assert.deepEqual(layout.yaxis2.tickfont, { color: "#222222" }, "as dark or light as all text");
  assert.deepEqual(layout.xaxis.domain, layout.xaxis2.domain);
  assert.ok(layout.yaxis2.domain[1] < layout.yaxis.domain[0]);
  assert.equal(layout.xaxis2.matches, "x");
});

test("beyond 16 lines a group's are one trace with gaps, and each point has its seed", () => {
  const many = drawn({ seeds: "each" }, seeds(20)).traces;
  assert.equal(drawn({ seeds: "each" }, seeds(16)).traces.length, 16);
  assert.deepEqual(many.map((trace) => trace.y), [Array(20).fill([3, 2, 1, null]).flat().slice(0, -1)]);
  assert.deepEqual(many[0].customdata.slice(0, 5), ["seed 0", "seed 0", "seed 0", null, "seed 1"]);
});

test("a view picks runs by state, optimizer, problem and words; a run must match all", () => {
  const status = { a1: "finished", a2: "finished", b1: "finished", b2: "running", c1: "finished" };
  const run = (id) => ({
    status: status[id], final: status[id] !== "running", experiment_name: "E",
    config: { optimizer: { kind: id === "c1" ? "hf" : "bhf" }, problem: { name: id === "c1" ? "cnn" : "tiny", data: "dots" } },
  });
  const ids = Object.keys(status);
  const runs = new Map(ids.map((id) => [id, run(id)]));
  const groups = ["a", "b", "c"].map((key) => ({ key, runs: ids.filter((id) => id[0] === key).map((id) => ({ id, title: id })) }));
  const found = (view) => picked(groups, runs, { filter: "", status: "", optimizer: "", problem: "", ...view })
    .flatMap((group) => group.runs.map(({ id }) => id));
  assert.deepEqual(found({}), ids);
  assert.deepEqual(found({ status: "open" }), ["b2"]);
  assert.deepEqual(found({ status: "running" }), ["b2"]);
  assert.deepEqual(found({ status: "ended", optimizer: "hf" }), ["c1"]);
  assert.deepEqual(found({ problem: "tiny", filter: "B1 finished" }), ["b1"]);
  assert.deepEqual(found({ status: "failed" }), []);
});

test("rows sort in both directions, missing values last", () => {
  const rows = [{ cost: 2 }, { cost: null }, { cost: 3 }];
  const sorted = (sort) => inOrder(rows, sort, (row, key) => row[key]).map(({ cost }) => cost);
  assert.deepEqual(sorted("cost"), [2, 3, null]);
  assert.deepEqual(sorted("-cost"), [3, 2, null]);
  assert.deepEqual(sorted(""), [2, null, 3]);
});

test("a zoom is read back as written; what makes no sense is left out", () => {
  const zoom = { x: [0.5, 30], train_loss: [-1, 2.25] };
  assert.deepEqual(readZoom(writeZoom(zoom)), zoom);
  assert.deepEqual(readZoom("x:1,y:NaN:2,<b>"), {});
});

test("panels of several columns ask for those and for the axis; blocks are asked for apart", () => {
  const view = { panels: ["time", "decreases", "residual", "scale"], targetOf: "test_loss", x: "update" };
  const fields = ["gradient_seconds", "curvature_seconds", "evaluation_seconds", "loss_decrease", "scale", "test_loss"];
  assert.deepEqual(fieldsOf(view), fields);
  assert.deepEqual(fieldsOf({ ...view, x: "cpu_seconds" }), [...fields, "cpu_seconds"]);
});

test("a logarithmic axis has ticks at 1, 2 and 5 within three decades, else at powers of ten", () => {
  const ticks = (range, low, high) => logTicks(range).tickvals.filter((value) => value >= low && value <= high);
  assert.deepEqual(ticks([10, 100], 20, 100), [20, 50, 100]);
  assert.deepEqual(ticks([1, 1e6], 1, 100), [1, 10, 100]);
});

test("markup is plain for plotly", () => {
  assert.equal(plain("<b>&amp;</b>"), "&lt;b&gt;&amp;amp;&lt;/b&gt;");
});

test("a curve's end has a dot, and its name and value stand beside it", () => {
  const { dots, layout, panels } = drawn({ seeds: "band" }, seeds(2));
  assert.deepEqual(dots.map(({ x, y, mode }) => [x, y, mode]), [[[3], [1], "markers"]]);
  const label = layout.annotations.find(({ text }) => text.endsWith(" 1"));
  assert.deepEqual([label.text, label.x, label.y], ["<b>BHF</b> 1", 3, 0]);
  assert.deepEqual(panels.map(({ measure, lines }) => [measure, lines.map((line) => [line.label, line.ys])]), [["train_loss", [["BHF", [3, 2, 1]]]]]);
});

test("a lecture fills the height with larger text and thicker curves; of many curves the best have names", () => {
  const group = (i) => ({ key: `g${i}`, label: `B${i}`, kind: "bhf", variant: i, runs: [{ id: `r${i}`, name: "" }] });
  const groups = [...Array(10).keys()].map(group);
  const series = new Map(groups.map(({ runs }, i) => [runs[0].id, { update: [1, 2], train_loss: [30, 20 - i] }]));
  const store = { series, runs: new Map(), blocks: new Map(), bucket: 1 };
  const theme = { colours: { bhf: "#000000" }, others: [], text: "#222222", background: "#ffffff" };
  const found = (changes, fill) => figure({ groups, store, view: VIEW, theme: { ...theme, ...changes }, width: 1280, fill });
  const labels = ({ layout }) => layout.annotations.filter(({ xanchor, yanchor }) => xanchor === "left" && yanchor === "middle");
  assert.deepEqual(labels(found({})), []);
  const lecture = found(LECTURE, 640);
  assert.deepEqual(labels(lecture).map(({ text }) => text.slice(3, 5)), ["B9", "B8", "B7", "B6", "B5", "B4", "B3", "B2"]);
  assert.equal(lecture.layout.height, 640);
  assert.ok([lecture.layout, ...lecture.layout.annotations, lecture.layout.xaxis.title].every(({ font }) => font.size >= 20));
  assert.ok(lecture.traces.filter(({ bhf }) => bhf?.main).every(({ line }) => line.width >= 4));
});

test("what is between two fingers stays between them", () => {
  const axis = { range: [0, 100], offset: 50, length: 500 };
  const fingers = (middle, distance) => ({ middle, distance });
  assert.deepEqual(pinched(axis, fingers(300, 100), fingers(300, 200)), [25, 75]);
  assert.deepEqual(pinched(axis, fingers(300, 100), fingers(350, 100)), [-10, 90]);
  assert.ok(pinched(axis, fingers(300, 100), fingers(300, 0)).every(Number.isFinite));
});

test("a link is without the lecture; its advice depends on who can open it", () => {
  assert.equal(linkOf("http://h/?experiments=a&view=present&x=cost"), "http://h/?experiments=a&x=cost");
  const advice = [["127.0.0.1", false], ["localhost", true], ["192.168.1.5", true], ["192.168.1.5", false]].map(([host, readOnly]) => adviceOf(host, readOnly));
  assert.equal(advice[0], advice[1]);
  assert.equal(new Set(advice).size, 3);
});

test("a diverged run's curve leaves through the top with a mark at its update; the range is the other run's", () => {
  const series = new Map([
    ["good", { update: [1, 2, 3], train_loss: [3, 2, 1] }],
    ["lost", { update: [1, 2, 3], train_loss: [3, 1e9, null], diverged: [false, false, true] }],
  ]);
  const runs = new Map([["good", "finished"], ["lost", "failed"]].map(([id, status]) => [id, { status, final: true, config: { budget: {} } }]));
  const theme = { colours: { bhf: "#000000", hf: "#333333" }, others: ["#111111"], text: "#222222", background: "#ffffff" };
  const groups = [["good", "bhf"], ["lost", "hf"]].map(([id, kind]) => ({ key: id, label: kind, kind, variant: 0, runs: [{ id, name: "seed 0" }] }));
  const { layout, traces, clipped } = figure({ groups, store: { series, runs, blocks: new Map(), bucket: 1 }, view: VIEW, theme, width: 900 });
  const [mark] = traces.filter(({ marker }) => marker?.symbol === "triangle-up");
  assert.ok(clipped);
  assert.ok(10 ** layout.yaxis.range[1] < 4);
  assert.deepEqual([mark.x, mark.name], [[2], "hf (seed 0) diverged at update 3"]);
  assert.ok(layout.annotations.some(({ text }) => text === "diverged at 3"));
  const full = figure({ groups, store: { series, runs, blocks: new Map(), bucket: 1 }, view: { ...VIEW, full: true }, theme, width: 900 });
  assert.ok(10 ** full.layout.yaxis.range[1] > 1e9);
  assert.deepEqual(full.traces.filter(({ marker }) => marker?.symbol === "x").map(({ x, y }) => [x, y]), [[[3], [1e9]]]);
});

test("optimizers differ in dash; a swept number goes from light to dark with the optimizer's dash", () => {
  const theme = { colours: { adam: "#c8500a", bhf: "#00825f" }, dashes: { bhf: 0, adam: 2 }, others: [], text: "#1b2330", background: "#ffffff" };
  assert.deepEqual([style({ kind: "bhf", variant: 0 }, theme).dash, style({ kind: "adam", variant: 0 }, theme).dash], ["solid", "dot"]);
  const lightness = (colour) => [1, 3, 5].reduce((sum, i) => sum + Number.parseInt(colour.slice(i, i + 2), 16), 0);
  const ramp = [0, 0.5, 1].map((shade, variant) => style({ kind: "bhf", variant, shade, dash: 0 }, theme));
  assert.deepEqual(ramp.map(({ dash }) => dash), ["solid", "solid", "solid"]);
  const levels = ramp.map(({ colour }) => lightness(colour));
  assert.ok(levels[0] > levels[1] && levels[1] > levels[2]);
});

test("18 configurations of one optimizer differ by dash and shade", () => {
  const theme = { colours: { bhf: "#00825f" }, others: [], text: "#1b2330", background: "#ffffff" };
  const looks = [...Array(18).keys()].map((variant) => style({ kind: "bhf", variant }, theme));
  assert.equal(new Set(looks.map((look) => look.colour + look.dash)).size, 18);
  assert.deepEqual([0, 6, 12].map((i) => looks[i].colour), ["#00825f", "#0b5c4c", "#66b49f"]);
});

test("a brush concerns the axis inside its box, or the nearest; lines must be within every range", () => {
  assert.deepEqual([[0.8, 1.2], [0.1, 0.3], [1.6, 1.9], [-0.2, 3.1]].map((box) => axisOf(box, 3)), [1, 0, 2, 1]);
  const lines = [{ y: [0, 0.5], opacity: 0.8 }, { y: [1, 0.5] }, { y: [1, 0] }];
  assert.deepEqual(opacities(lines, new Map()), [0.8, 1, 1]);
  const shown = opacities(lines, new Map([[0, [0.9, 1]], [1, [0.4, 0.6]]]));
  assert.deepEqual(shown.map((each) => each > 0.5), [false, true, false]);
});
