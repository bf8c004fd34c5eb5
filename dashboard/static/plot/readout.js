// What the curves of a panel are at a place of the x axis. Pure functions.

/** The index of the value nearest to x in ascending values. */
export function nearest(values, x) {
  let [low, high] = [0, values.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) low = middle;
    else high = middle;
  }
  return Math.abs(values[high] - x) < Math.abs(values[low] - x) ? high : low;
}

/** The lines' values at x, best first: lines that end, or begin, further away than `reach` are left out. */
export function readout(lines, x, reach, higher = false) {
  const found = [];
  for (const { xs, ys, notes, ...line } of lines) {
    if (!xs.length) continue;
    const at = nearest(xs, x);
    if (Math.abs(xs[at] - x) <= reach || (x > xs[0] && x < xs.at(-1))) found.push({ ...line, x: xs[at], y: ys[at], note: notes?.[at] });
  }
  return found.sort((a, b) => (higher ? b.y - a.y : a.y - b.y));
}
