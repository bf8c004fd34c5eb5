// How far the runs are and how long they still take, in words. Pure functions.

/** The training seconds that the runs still need; null if it is not known of one of them. */
export function secondsLeft(runs) {
  const speed = ({ summary: { seconds, updates } }) => (updates ? seconds / updates : null);
  const open = runs.filter(({ final }) => !final);
  let sum = 0;
  for (const run of open) {
    const alike = runs.filter((other) => other.config.optimizer.kind === run.config.optimizer.kind).map(speed).filter((each) => each != null);
    const each = speed(run) ?? (alike.length ? alike.reduce((a, b) => a + b, 0) / alike.length : null);
    const { updates, seconds } = run.config.budget;
    const limits = [
      updates != null && each != null ? (updates - run.summary.updates) * each : null,
      seconds != null ? seconds - run.summary.seconds : null,
    ].filter((left) => left != null);
    if (!limits.length) return null;
    sum += Math.max(0, Math.min(...limits));
  }
  return sum;
}

/** Training seconds per second of a clock, from samples {at, seconds} in the order of time; null if they span too little. */
export function pace(samples) {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || last.at - first.at < 5) return null;
  const gained = last.seconds - first.seconds;
  return gained > 0 ? gained / (last.at - first.at) : null;
}

/** A rough duration: "under a minute", "about 3 min", "about 2 h". */
export function roughly(seconds) {
  if (seconds < 45) return "under a minute";
  return seconds < 5400 ? `about ${Math.max(1, Math.round(seconds / 60))} min` : `about ${Math.round(seconds / 3600)} h`;
}

/**
 * The status of the runs: a sentence, and a few characters for the browser's tab. `speed` is the training seconds per
 * second of the clock, null if it is not known. "31/40" are the updates of the training run that is furthest behind.
 */
export function progressOf(runs, speed = null) {
  if (!runs.length) return { text: "", tab: "" };
  const count = (status) => runs.filter((run) => run.status === status).length;
  const [running, failed] = [runs.filter(({ status }) => status === "running"), count("failed")];
  if (runs.every(({ final }) => final)) {
    if (runs.length === 1) return { text: named(runs[0].status), tab: failed ? "\u2717" : "\u2713" };
    const parts = [`${count("finished")} of ${runs.length} finished`];
    if (failed) parts.push(`${failed} failed`);
    if (count("cancelled")) parts.push(`${count("cancelled")} cancelled`);
    return { text: parts.join(" \u00b7 "), tab: failed ? "\u2717" : "\u2713" };
  }
  const waiting = count("queued") ? "Waiting for a worker" : runs.length === 1 ? "Paused" : `${count("paused")} of ${runs.length} paused`;
  const training = runs.length === 1 ? "Training" : `Training ${running.length} of ${runs.length}`;
  const parts = [running.length ? training : waiting];
  const behind = running.length ? running.reduce((a, b) => (b.progress < a.progress ? b : a)) : null;
  const { updates } = behind?.config.budget ?? {};
  const done = !behind ? "" : updates ? `${behind.summary.updates}/${updates}` : `${Math.round(100 * behind.progress)} %`;
  if (done) parts.push(done);
  const left = running.length && speed ? secondsLeft(runs) : null;
  if (left != null) parts.push(`${roughly(left / speed)} left`);
  if (failed) parts.push(`${failed} failed`);
  return { text: parts.join(" \u00b7 "), tab: done };
}

const named = (status) => status[0].toUpperCase() + status.slice(1);
