// What the store asks of the backend, and when.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as after } from "node:timers/promises";

import { load } from "./modules.mjs";

globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { Store } = await load("store");

const stores = [];

function opened(changed) {
  const store = new Store(changed);
  stores.push(store);
  return store;
}

afterEach(() => {
  for (const store of stores.splice(0)) store.stop();
});

async function until(condition) {
  while (!condition()) await after(5);
}

test("the rows of long runs are asked for in buckets, also when another measure is wanted", async () => {
  const asked = [];
  const columns = { status: "running", row_generation: 1, last_update: 5000, update: [5000], train_loss: [1] };
  globalThis.fetch = async (path) => {
    const bucket = /\/series.*bucket=([0-9]+)/.exec(path)?.[1];
    if (bucket) asked.push(bucket);
    return Response.json({ runs: bucket ? { r: columns } : [{ id: "r", status: "running", summary: { updates: 5000 } }] });
  };
  const store = opened(() => {});
  const rest = async () => {
    await after(5);
    await until(() => !store.busy && !store.again);
  };
  store.expect(0); // the page was drawn when the run was new
  store.want(["r"], ["e"], ["train_loss"]);
  await rest();
  store.want(["r"], ["e"], ["train_loss", "test_loss"]);
  await rest();
  assert.deepEqual(asked.slice(0, 2), ["1", "16"]);
  assert.ok(asked.length > 2);
  assert.deepEqual(new Set(asked.slice(2)), new Set(["16"]));
});

test("after a 429 nothing is asked before the seconds of Retry-After are over", async () => {
  const asked = [];
  const problems = [];
  globalThis.fetch = async () => {
    asked.push(performance.now());
    if (asked.length > 1) return Response.json({ runs: { r: { status: "running", row_generation: 1, last_update: 1, update: [1] } } });
    return Response.json({ title: "wait" }, { status: 429, headers: { "retry-after": "0.5" } });
  };
  const store = opened(() => problems.push(store.problem));
  store.want(["r"], [], ["train_loss"]);
  await until(() => problems.length >= 2);
  assert.deepEqual(problems, ["wait", ""]);
  assert.ok(asked[1] - asked[0] >= 490);
});
