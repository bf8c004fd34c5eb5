// How the runs' time divides into gradient, curvature, evaluation and the rest. Pure functions.

export const PHASES = ["gradient", "curvature", "evaluation", "rest"];

/** The seconds of each phase over the rows of one run, and their number of updates; null if they were not reported.
    A point covers the updates since the point before; every `every`-th update was evaluated. */
export function timeOf(columns, every) {
  const { update = [], seconds = [], gradient_seconds: gradient = [], curvature_seconds: curvature, evaluation_seconds: evaluation } = columns ?? {};
  const sum = { gradient: 0, curvature: 0, evaluation: 0, rest: 0, updates: 0 };
  const first = gradient.findIndex((value) => value != null);
  if (first < 0) return null;
  const part = update[0] > update[1] - update[0]; // the rows do not start at the first update: the time of the first row is unknown
  for (let i = part ? 1 : 0; i < update.length; i += 1) {
    if (gradient[i] == null) continue;
    const [since, then] = i ? [update[i - 1], seconds[i - 1]] : [0, 0];
    const count = update[i] - since;
    const evaluations = count === 1 ? 1 : Math.max(1, Math.floor(update[i] / every) - Math.floor(since / every));
    const [g, c] = [count * gradient[i], count * (curvature?.[i] ?? 0)];
    sum.gradient += g;
    sum.curvature += c;
    sum.evaluation += evaluations * (evaluation?.[i] ?? 0);
    sum.rest += Math.max(0, seconds[i] - then - g - c);
    sum.updates += count;
  }
  return sum.updates ? sum : null;
}

/** The sum of the phases over a group's runs; null if none reported them. */
export function timeOfGroup(group, store) {
  const found = group.runs
    .map(({ id }) => timeOf(store.series.get(id), store.runs.get(id)?.config?.evaluation?.every ?? 1))
    .filter((times) => times);
  if (!found.length) return null;
  return found.reduce((a, b) => Object.fromEntries(Object.keys(a).map((name) => [name, a[name] + b[name]])));
}

/** One bar of equal length per group, divided into the phases. */
export function timeBars(shown, { axis, style, faint, plain, theme }) {
  const base = { type: "bar", orientation: "h", xaxis: `x${axis}`, yaxis: `y${axis}`, width: 0.45, showlegend: false };
  return PHASES.map((phase, i) => {
    const rows = shown.map(({ group, times }, place) => {
      const total = PHASES.reduce((sum, key) => sum + times[key], 0) || 1;
      const colour = phase === "rest" ? theme.grid : faint(style(group, theme).colour, [0.55, 1, 0.28][i]);
      const share = times[phase] / total;
      return { place, colour, share, each: times[phase] / times.updates, label: plain(group.label) };
    });
    return {
      ...base, name: phase, x: rows.map(({ share }) => share), y: rows.map(({ place }) => place),
      marker: { color: rows.map(({ colour }) => colour), line: { color: theme.background, width: 1 } },
      text: rows.map(({ share }) => (share > 0.12 ? phase : "")), textposition: "inside", insidetextanchor: "middle",
      textfont: { size: 11, color: rows.map(() => (phase === "curvature" ? theme.background : theme.text)) }, textangle: 0,
      customdata: rows.map(({ label, each }) => [label, each]),
      hovertemplate: `%{customdata[0]}: ${phase} %{x:.1%}, %{customdata[1]:.3~s}s per update<extra></extra>`,
    };
  });
}
