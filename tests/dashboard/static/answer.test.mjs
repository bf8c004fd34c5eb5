// The answer above the charts, the status, the ranking and the numbers, against values computed by hand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./modules.mjs";

const { answer } = await load("answer");
const { pace, progressOf, secondsLeft } = await load("progress");
const { ranking } = await load("ranking");
const { aligned, decimals, power, significant, time } = await load("numbers");

const row = (label, update, changes = {}) => ({
  group: { key: label, label }, n: 1, reached: update ? 1 : 0, open: 0,
  costs: update ? { update: { mean: update }, seconds: { mean: 2 * update }, cost: { mean: 4 * update } } : {},
  ...changes,
});
const texts = (rows, baseline) => answer(rows, baseline, { measure: "train_loss", target: 22.68 }).parts.map(({ group, text }) => `${group.label} ${text}`);

test("the best configuration is compared with the baseline, the others follow with their updates alone", () => {
  const adam = row("Adam", 40);
  const bhf = row("BHF", 10, { costs: { update: { mean: 10 }, seconds: { mean: 160 }, cost: { mean: 288 } } });
  assert.equal(answer([adam], adam, { measure: "train_loss", target: 22.68 }).head, "To train loss 22.7");
  assert.deepEqual(texts([adam, row("HF", 13), bhf], adam), [
    "BHF 10 updates (1/4 of Adam\u2019s 40), 2 \u00d7 the time, 1.8 \u00d7 the compute", "HF 13", "Adam 40",
  ]);
});

test("a baseline that is best stands alone; a run that may still get there comes before one that did not", () => {
  const adam = row("Adam", 10);
  assert.deepEqual(texts([row("SGD", 0), row("HF", 0, { open: 1 }), adam], adam), ["Adam 10 updates", "HF not yet", "SGD not reached"]);
  assert.equal(texts([row("BHF", 27, { n: 3, reached: 2 }), row("Adam", 40)], row("Adam", 40))[0].split(",")[0], "BHF 27 updates (2 of 3) (0.68 \u00d7 Adam\u2019s 40)");
});

const run = (status, updates, changes = {}) => ({
  status, final: ["finished", "failed", "cancelled"].includes(status), progress: updates / 40,
  config: { optimizer: { kind: "adam" }, budget: { updates: 40 } }, summary: { updates, seconds: 2 * updates }, ...changes,
});

test("the status has the training runs, the updates of the one furthest behind and the time left", () => {
  const runs = [run("finished", 40), run("running", 31), run("running", 35)];
  assert.equal(secondsLeft(runs), 28);
  assert.deepEqual(progressOf(runs, 0.1), { text: "Training 2 of 3 \u00b7 31/40 \u00b7 about 5 min left", tab: "31/40" });
  assert.equal(progressOf(runs).text, "Training 2 of 3 \u00b7 31/40");
  assert.equal(progressOf([run("queued", 0)]).text, "Waiting for a worker");
  assert.deepEqual(progressOf([run("finished", 40), run("failed", 7)]), { text: "1 of 2 finished \u00b7 1 failed", tab: "\u2717" });
  assert.deepEqual(progressOf([run("finished", 40)]), { text: "Finished", tab: "\u2713" });
  assert.equal(progressOf([run("running", 4)]).text, "Training \u00b7 4/40");
});

test("no time left is told of an optimizer of which nothing is known", () => {
  const other = run("queued", 0, { config: { optimizer: { kind: "hf" }, budget: { updates: 40 } } });
  assert.equal(secondsLeft([run("running", 20), other]), null);
});

test("the pace is training seconds per second of the clock, once five seconds are known", () => {
  assert.equal(pace([{ at: 0, seconds: 0 }, { at: 10, seconds: 15 }]), 1.5);
  assert.equal(pace([{ at: 0, seconds: 0 }, { at: 4, seconds: 15 }]), null);
  assert.equal(pace([{ at: 0, seconds: 3 }, { at: 10, seconds: 3 }]), null);
});

test("configurations are ranked by their mean; one with a failed run is not the best", () => {
  const group = (key, ids) => ({ key, runs: ids.map((id) => ({ id })) });
  const result = (status, value) => ({ status, final: true, summary: { best_train_loss: value } });
  const runs = new Map([["a", result("finished", 4)], ["b", result("finished", 6)], ["c", result("failed", 1)], ["d", result("finished", 2)], ["e", result("failed", null)]]);
  const rows = ranking([group("ab", ["a", "b"]), group("cd", ["c", "d"]), group("e", ["e"])], runs, "train_loss");
  assert.deepEqual(rows.map((one) => [one.group.key, one.value?.mean, one.finished, one.failed, one.best]), [
    ["cd", 2, 1, 1, false], ["ab", 5, 2, 0, true], ["e", undefined, 0, 1, false],
  ]);
});

test("the numbers of a column have the same decimals; powers of ten are written alike", () => {
  assert.equal(decimals([40.5, 36.93, null]), 2);
  assert.deepEqual([40.5, 36.93, null].map((value) => aligned(value, 2)), ["40.50", "36.93", "\u2013"]);
  assert.equal(decimals([12, 40]), 0);
  assert.deepEqual([decimals([3.4, 1.8], 3), decimals([4.25, 2.25], 3), decimals([11.2, 4.4], 3), decimals([null])], [1, 2, 1, 0]);
  assert.equal(aligned(7.909e16, 2), "7.91 \u00b7 10\u00b9\u2076");
  assert.deepEqual([1e5, 2e-4].map((value) => power(value)), ["10\u2075", "2 \u00b7 10\u207b\u2074"]);
  assert.equal(significant(0.2096, 3), "0.21");
  assert.deepEqual([0.2096, 184.23, 738, 40_000].map(time), ["0.21 s", "184 s", "12.3 min", "11.1 h"]);
});
