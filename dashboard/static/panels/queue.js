// Numbers on the queue page that change without a run of its script: updates, and when a worker was last seen.

import { put } from "../dom.js";

/** "1,234 of 5,000 updates", as the server writes it. */
export function progress({ summary, config: { budget } }) {
  const write = (count) => count.toLocaleString("en-US");
  return `${write(summary.updates)}${budget.updates ? ` of ${write(budget.updates)}` : ""} updates`;
}

/** Updates per second of training, three digits; empty if there are none yet. */
export function rate(run) {
  return run?.summary.seconds ? String(Number((run.summary.updates / run.summary.seconds).toPrecision(3))) : "";
}

/** Write the new numbers into the page; `now` is the server's clock in seconds. */
export function queue([{ runs }, , , { workers }], now) {
  for (const run of runs) put(document.querySelector(`[data-progress="${run.id}"]`), progress(run));
  const lines = document.querySelectorAll('[aria-label="Workers"] tbody tr');
  workers.forEach((worker, i) => {
    const [heard, pace] = [...(lines[i]?.children ?? [])].slice(5);
    put(heard, `${Math.max(0, now - Date.parse(worker.seen_at) / 1000).toFixed(0)} s ago`);
    put(pace, rate(runs.find(({ id }) => id === worker.run_id)));
  });
}
