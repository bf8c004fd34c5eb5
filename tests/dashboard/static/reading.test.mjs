// Ranges that divergence does not stretch, labels that do not overlap, and what the crosshair reads.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load, near } from "./modules.mjs";

const { budgetEnd, extent, leaves, padded } = await load("extent");
const { apart, labelWidth, shortened } = await load("lineEnds");
const { readout } = await load("readout");
const { complete, fileName } = await load("save");

const SERIES = new Map(Object.entries({
  good: { update: [1, 2, 3], train_loss: [100, 50, 10] },
  lost: { update: [1, 2, 3], train_loss: [100, 1e20, null], diverged: [false, false, true] },
  risen: { update: [1, 2, 3], train_loss: [80, 90, 40_000] },
}));
const RUNS = new Map([["good", "finished"], ["lost", "failed"], ["risen", "finished"]].map(([id, status]) => [
  id, { status, final: true, config: { budget: { updates: 40 } } },
]));
const of = (...ids) => ({ groups: [{ runs: ids.map((id) => ({ id })) }], store: { series: SERIES, runs: RUNS }, measure: "train_loss", view: { x: "update", logX: false }, logY: true });

test("the range is that of the runs that did not diverge, at most 1.5 times their first losses", () => {
  assert.deepEqual(extent(of("good", "lost")), { low: 10, high: 100, clipped: true });
  assert.deepEqual(extent(of("good", "risen")), { low: 10, high: 150, clipped: true });
  assert.deepEqual(extent(of("good")), { low: 10, high: 100, clipped: false });
  assert.deepEqual(extent(of("lost")), { low: 100, high: 150, clipped: true }, "of diverged runs alone, where they began");
  assert.equal(extent(of("none")), null);
});

test("all values are shown where that is asked for", () => {
  const asked = of("good", "lost");
  assert.deepEqual(extent({ ...asked, view: { ...asked.view, full: true } }), { low: 10, high: 1e20, clipped: false });
});

test("an axis has 5 % of room, also around a single value, and a curve leaves it at its first point above", () => {
  assert.deepEqual(padded({ low: 0, high: 10 }, false), [-0.5, 10.5]);
  assert.ok(near(padded({ low: 1, high: 100 }, true), [1 / 100 ** 0.05, 100 * 100 ** 0.05]));
  assert.ok(padded({ low: 5, high: 5 }, true)[0] < 5);
  assert.equal(leaves({ y: [1, 3, 9, 2] }, 4), 2);
  assert.equal(leaves({ y: [1, 3] }, 4), -1);
});

test("the x axis ends at the budget while a run may go on, else where the runs ended", () => {
  const runs = (status) => new Map([["good", { status, final: status !== "running", config: { budget: { updates: 40 } } }]]);
  const groups = [{ runs: [{ id: "good" }] }];
  const series = new Map([["good", { update: [1, 10], epoch: [0.1, 1], seconds: [1, 2] }]]);
  const end = (status, x) => budgetEnd(groups, { runs: runs(status), series }, x);
  assert.deepEqual([end("running", "update"), end("running", "epoch"), end("running", "seconds"), end("finished", "update")], [40, 4, null, 10]);
});

test("labels stay in order, apart and inside", () => {
  assert.deepEqual(apart([50, 52, 54], 16, 300), [50, 66, 82]);
  assert.deepEqual(apart([100, 20, 22], 16, 300), [100, 20, 36]);
  assert.deepEqual(apart([295, 298], 16, 300), [284, 300]);
});

test("a narrow panel has values alone beside its curves", () => {
  assert.equal(labelWidth(["Adam"], 380), 46);
  assert.ok(labelWidth(["Adam"], 600, 2) > labelWidth(["Adam"], 600));
  assert.ok(labelWidth(["Adam"], 600) < labelWidth(["BHF with a long name"], 600));
  assert.equal(shortened("x".repeat(40)).length, 24);
});

test("names beside curves leave out what all share, and keep the settings' ends", () => {
  const names = ["BHF \u00b7 curvature batch 250 \u00b7 damping 0.1", "BHF \u00b7 curvature batch 62 \u00b7 damping 1"];
  const short = names.map((name) => shortened(name, names));
  assert.ok(short.every((text, i) => text.length === 24 && names[i].endsWith(text.slice(1))), short);
  assert.equal(shortened("BHF", ["BHF", "HF"]), "BHF");
});

test("the crosshair reads the nearest points, best first, and leaves out curves that ended before", () => {
  const line = (label, xs, ys) => ({ label, xs, ys });
  const lines = [line("a", [1, 2, 3, 4], [9, 8, 7, 6]), line("b", [1, 2, 3, 4], [5, 4, 3, 2]), line("c", [1, 2], [1, 1])];
  assert.deepEqual(readout(lines, 3.2, 0.3).map(({ label, x, y }) => [label, x, y]), [["b", 3, 3], ["a", 3, 7]]);
  assert.deepEqual(readout(lines, 2.1, 0.3).map(({ label }) => label), ["c", "b", "a"]);
  assert.deepEqual(readout(lines, 3, 0.3, true).map(({ label }) => label), ["a", "b"]);
});

test("a saved picture has the comparison's title, and a legend whose entries are as wide as the longest name", () => {
  const traces = ["Adam", "BHF \u00b7 damping 0.1 \u00b7 curvature batch 250"].map((name) => ({ name, showlegend: true }));
  const { layout } = complete({ traces, layout: { width: 480, height: 300 } }, { background: "#ffffff" }, "Damping <sweep>");
  assert.equal(layout.title.text, "Damping &lt;sweep&gt;");
  assert.equal(layout.legend.traceorder, "normal");
  assert.ok(layout.legend.entrywidth >= 7 * traces[1].name.length && layout.legend.entrywidth < 480);
  assert.ok(layout.height > 300 + layout.margin.t && layout.margin.b >= 30 + 2 * 22, "there is room for two lines of the legend");
  assert.equal(fileName("Damping sweep: \u03bb!"), "damping-sweep");
});
