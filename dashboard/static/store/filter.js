// Filters of runs: words, status, optimizer and problem. Pure functions.

/** The choices of the status filter: label, and which runs match. */
export const STATES = {
  "": { label: "All", has: () => true },
  running: { label: "Running", has: ({ status }) => status === "running" },
  open: { label: "Not ended", has: ({ final }) => !final },
  ended: { label: "Ended", has: ({ final }) => final },
  queued: { label: "Queued", has: ({ status }) => status === "queued" },
  paused: { label: "Paused", has: ({ status }) => status === "paused" },
  finished: { label: "Finished", has: ({ status }) => status === "finished" },
  failed: { label: "Failed or cancelled", has: ({ status }) => status === "failed" || status === "cancelled" },
};

/** Whether each word occurs in a run's name, seed, status, problem, data or comparison. */
export function matches(run, info, words) {
  const { problem } = run.config;
  const text = [info.title, run.status, problem.name, problem.data, run.experiment_name, run.config.optimizer.kind].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Whether a view filters runs. */
export function narrowed({ filter, status, optimizer, problem }) {
  return Boolean(filter.trim() || status || optimizer || problem);
}

/** The groups with their runs that match the view's filters, without empty groups. */
export function picked(groups, runs, view) {
  if (!narrowed(view)) return groups;
  const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (info) => {
    const run = runs.get(info.id);
    return run && STATES[view.status].has(run) && (!view.optimizer || run.config.optimizer.kind === view.optimizer)
      && (!view.problem || run.config.problem.name === view.problem) && matches(run, info, words);
  };
  return groups.map((group) => ({ ...group, runs: group.runs.filter(wanted) })).filter((group) => group.runs.length);
}
