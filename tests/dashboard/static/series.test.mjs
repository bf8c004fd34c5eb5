// Buckets, joining, windows, means over seeds and smoothing, against values computed by hand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { load, near } from "./modules.mjs";

const { bucketFor, divergence, join, mean, points, slice, smooth } = await load("series");
const { windowOf } = await load("detail");

test("a bucket is the smallest power of two that leaves at most 400 points", () => {
  assert.deepEqual([0, 1, 400, 401, 800, 5000, 100_000].map(bucketFor), [1, 1, 1, 2, 2, 16, 256]);
});

test("an increment replaces the bucket that was still filling, whole ones before it stay", () => {
  const held = { update: [3, 7, 9], loss: [5, 4, 3] };
  const got = { update: [11, 13], loss: [2, 1], status: "running" };
  assert.deepEqual(join(held, got, 4), { update: [3, 7, 11, 13], loss: [5, 4, 2, 1] });
});

test("the first answer is taken, an empty one changes nothing", () => {
  assert.deepEqual(join(undefined, { update: [1], loss: [2], row_generation: 1 }, 1), { update: [1], loss: [2] });
  assert.deepEqual(join({ update: [1] }, { update: [] }, 1), { update: [1] });
});

test("points leave out what was not measured or cannot be drawn", () => {
  const columns = { update: [1, 2, 3, 4], loss: [3, null, 0, 1] };
  assert.deepEqual(points(columns, "update", "loss").x, [1, 3, 4]);
  assert.deepEqual(points(columns, "update", "loss", { logY: true }).x, [1, 4]);
  const older = { update: [1, 2], cpu_seconds: [null, 2], loss: [5, 4] };
  assert.deepEqual(points(older, "cpu_seconds", "loss").x, [2], "older rows have no processor time");
});

test("a divergence has the height of the last finite value", () => {
  const columns = { update: [1, 2, 3], loss: [3, 2, null], cost: [10, 20, 30], diverged: [false, false, true] };
  assert.deepEqual(divergence(columns, "cost", "loss"), { update: 3, x: 30, y: 2 });
  assert.equal(divergence({ update: [1], loss: [1], diverged: [false] }, "update", "loss"), null);
});

const COARSE = { update: [7, 15, 23, 31, 39], seconds: [0.7, 1.5, 2.3, 3.1, 3.9] };

for (const [axis, shown, updates] of [
  ["update", [16, 30], [7, 31]],
  ["seconds", [2.0, 2.5], [7, 31]],
  ["update", [0, 100], [0, 39]],
  ["update", [25, 28], [15, 31]],
  ["update", [40, 50], null],
]) {
  test(`the window of ${axis} ${shown} has one more point at either end`, () => {
    assert.deepEqual(windowOf(COARSE, axis, shown), updates);
  });
}

test("a slice holds the updates of its window, every column alike", () => {
  assert.deepEqual(slice(COARSE, 15, 31), { update: [23, 31], seconds: [2.3, 3.1] });
});

/** A line with one value per update. */
function line(...values) {
  const updates = values.map((_, i) => i + 1);
  return { x: updates, y: values, update: updates };
}

for (const [band, low, high] of [
  ["range", 1, 6],
  ["deviation", 3 - Math.sqrt(7), 3 + Math.sqrt(7)],
  ["confidence", 3 - 4.303 * Math.sqrt(7 / 3), 3 + 4.303 * Math.sqrt(7 / 3)],
]) {
  test(`the ${band} of the seeds 1, 2 and 6`, () => {
    for (const [centre, value] of [["mean", 3], ["median", 2]]) {
      const found = mean([line(1), line(2), line(6)], 1, { band, centre });
      assert.deepEqual([found.n, found.y], [3, [value]]);
      assert.ok(near([found.low[0], found.high[0]], [low, high]));
    }
  });
}

for (const [count, t] of [[2, 12.706], [11, 2.228], [12, 2.201], [20, 2.093], [100, 1.984]]) {
  test(`half the confidence band of ${count} seeds is t times deviation over the root of their number`, () => {
    const found = mean([...Array(count).keys()].map((value) => line(value)), 1, { band: "confidence" });
    const deviation = Math.sqrt((count * (count + 1)) / 12); // of 0, 1, ..., count - 1
    assert.ok(near((found.high[0] - found.y[0]) / ((t * deviation) / Math.sqrt(count)), 1, 2e-3));
  });
}

test("the mean ends where a seed has ended; a seed that has not begun does not count", () => {
  const found = mean([line(1, 1, 1), line(3, 3), line()], 1, { band: "range" });
  assert.deepEqual([found.n, found.x, found.y], [2, [1, 2], [2, 2]]);
});

test("the mean continues where a seed is still to arrive, and each point has its count", () => {
  const found = mean([line(1, 1, 1), line(3, 3)], 1, { band: "range" }, [false, true]);
  assert.deepEqual([found.y, found.count], [[2, 2, 1], [2, 2, 1]]);
});

test("smoothing is corrected for its start, a constant stays", () => {
  assert.ok(near(smooth([2, 2, 2], 0.9), [2, 2, 2]));
  assert.ok(near(smooth([0, 1], 0.5), [0, 2 / 3]));
  assert.deepEqual(smooth([0, 1], 0), [0, 1]);
});
