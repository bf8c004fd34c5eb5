// The ends of curves: a dot, and beside it name and value, none over another. Pure functions.

export const LABEL_GAP = 16; // smallest distance of two labels [px]
export const MAX_LABELS = 8; // per panel
const LONGEST = 24; // characters of a name
const SEPARATOR = " \u00b7 ";

/** Places at least `gap` apart and within [0, height], as near to the wanted ones as their order allows. */
export function apart(wanted, gap, height) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const places = [...wanted];
  order.forEach((at, i) => {
    const before = i ? places[order[i - 1]] + gap : 0;
    places[at] = Math.max(places[at], before);
  });
  order.toReversed().forEach((at, i, all) => {
    const after = i ? places[all[i - 1]] - gap : height;
    places[at] = Math.min(places[at], after);
  });
  return places;
}

/** A name that fits beside a curve among others of these names: without the first part if all share it. */
export function shortened(name, names = []) {
  const first = name.split(SEPARATOR)[0] + SEPARATOR;
  const shared = names.length > 1 && names.every((other) => other.startsWith(first));
  const text = shared ? name.slice(first.length) : name;
  if (text.length <= LONGEST) return text;
  return shared ? `\u2026${text.slice(1 - LONGEST)}` : `${text.slice(0, LONGEST - 1)}\u2026`;
}

/** The width to keep free beside a panel for the labels of these names [px]; narrow panels have values alone. */
export function labelWidth(names, width, scale = 1) {
  if (!names.length) return 0;
  if (width < 420) return 46 * scale;
  return Math.min(0.34 * width, scale * (14 + 7 * (Math.max(...names.map((name) => shortened(name, names).length)) + 5)));
}
