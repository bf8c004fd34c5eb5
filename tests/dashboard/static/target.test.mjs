// What reaching a target took, and where the time went, against values computed by hand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./modules.mjs";

const { compared, defaultTarget, endedAbove, outcome, targetRows } = await load("target");
const { timeOf } = await load("time");

const SERIES = new Map(Object.entries({
  a1: { update: [1, 2, 3], epoch: [1, 2, 3], seconds: [1, 2, 3], cost: [1, 2, 3], train_loss: [9, 5, 4] },
  a2: { update: [1, 2, 3], epoch: [1, 2, 3], seconds: [2, 4, 6], cost: [1, 2, 3], train_loss: [9, 8, 5] },
  b1: { update: [1, 2], epoch: [1, 2], seconds: [9, 18], cost: [7, 14], train_loss: [5, 3] },
  b2: { update: [1], epoch: [1], seconds: [9], cost: [7], train_loss: [8] },
  c1: { update: [1], epoch: [1], seconds: [1], cost: [1], train_loss: [7] },
}));
const RUNS = new Map([...SERIES.keys()].map((id) => [id, { status: id === "b2" ? "running" : "finished", final: id !== "b2" }]));
const GROUPS = ["a", "b", "c"].map((key) => ({ key, runs: [...SERIES.keys()].filter((id) => id[0] === key).map((id) => ({ id })) }));

test("the costs of a target of 5: a's two seeds, b's first one while its second runs, c ended above it", () => {
  const rows = targetRows(GROUPS, SERIES, RUNS, "train_loss", 5);
  assert.deepEqual(rows.map((row) => [row.costs.update, row.costs.seconds]), [
    [{ mean: 2.5, low: 2, high: 3 }, { mean: 4, low: 2, high: 6 }],
    [{ mean: 1, low: 1, high: 1 }, { mean: 9, low: 9, high: 9 }],
    [null, null],
  ]);
  assert.deepEqual(rows.map(outcome), [
    "reached by 2 of 2", "reached by 1 of 2, 1 still running", "not reached within the budget",
  ]);
  assert.match(compared(rows[1], rows[0]), /^0\.4 × .*, 2\.3 × .*, 2\.8 × /);
  assert.equal(compared(rows[2], rows[0]), "");
});

test("the default target is that of finished runs; a failed run and one that ended above its start do not count", () => {
  const series = new Map([["a", [9, 4]], ["b", [9, 6]], ["failed", [9, 8]], ["risen", [7, 70]]].map(([id, train_loss]) => [id, { update: [1, 2], train_loss }]));
  const state = (status) => ({ status, final: status !== "running" });
  const runs = new Map([["a", state("finished")], ["b", state("running")], ["failed", state("failed")], ["risen", state("finished")]]);
  const ids = [...series.keys()].map((id) => ({ id }));
  assert.equal(defaultTarget(ids, series, "train_loss", runs), 4);
  runs.set("a", state("running"));
  assert.equal(defaultTarget(ids, series, "train_loss", runs), 6, "before a run has finished the others count");
  assert.deepEqual(endedAbove(runs.get("risen"), series.get("risen")), { first: 7, last: 70 });
  assert.equal(endedAbove(runs.get("a"), series.get("a")), null);
});

test("the default target is what every run with values has reached", () => {
  assert.equal(defaultTarget([...SERIES.keys()].map((id) => ({ id })), SERIES, "train_loss"), 8);
});

const TIMES = {
  update: [1, 2, 3, 4], seconds: [1, 2, 3, 4], gradient_seconds: Array(4).fill(0.25),
  curvature_seconds: Array(4).fill(0.5), evaluation_seconds: [null, 0.125, null, 0.125],
};

test("times add up over the updates; the rest is what the clock shows beyond", () => {
  assert.deepEqual(timeOf(TIMES, 2), { gradient: 1, curvature: 2, evaluation: 0.25, rest: 1, updates: 4 });
  const silent = { ...TIMES, gradient_seconds: [null, null, 0.25, 0.25] };
  assert.deepEqual(timeOf(silent, 2), { gradient: 0.5, curvature: 1, evaluation: 0.125, rest: 0.5, updates: 2 });
  assert.equal(timeOf({ ...TIMES, gradient_seconds: Array(4).fill(null) }, 2), null);
});

test("a point of several updates counts as many; of rows that begin later the first one is left out", () => {
  const points = {
    update: [3, 7, 9], seconds: [3, 7, 9], gradient_seconds: Array(3).fill(0.25),
    curvature_seconds: Array(3).fill(0.5), evaluation_seconds: Array(3).fill(0.5),
  };
  assert.deepEqual(timeOf(points, 3), { gradient: 2.25, curvature: 4.5, evaluation: 1.5, rest: 2.25, updates: 9 });
  const later = Object.fromEntries(Object.entries(points).map(([name, column]) => [name, column.slice(1)]));
  assert.equal(timeOf(later, 3).updates, 2);
});
