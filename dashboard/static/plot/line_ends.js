// The ends of curves: a dot, and beside it name and value, none over another. Pure functions.

export const LABEL_GAP = 16; // smallest distance of two labels [px]
export const MAX_LABELS = 8; // per panel
const LONGEST = 24; // characters of a name
const [EDGE, LETTER, NARROW_LETTER, VALUE] = [14, 7, 6.2, 5]; // of a label: edges, a wide and a usual letter [px], characters of its value
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
export function shortened(name, names = [], longest = LONGEST) {
  const first = name.split(SEPARATOR)[0] + SEPARATOR;
  const shared = names.length > 1 && names.every((other) => other.startsWith(first));
  const text = shared ? name.slice(first.length) : name;
  if (text.length <= longest) return text;
  return shared ? `\u2026${text.slice(1 - longest)}` : `${text.slice(0, longest - 1)}\u2026`;
}

/** The width to keep free beside a panel for the labels of these names [px]; narrow panels have values alone. */
export function labelWidth(names, width, scale = 1) {
  if (!names.length) return 0;
  if (width < 420) return 46 * scale;
  const share = scale > 1 ? 0.45 : 0.34; // larger text needs more of the panel
  return Math.min(share * width, scale * (EDGE + LETTER * (Math.max(...names.map((name) => shortened(name, names).length)) + VALUE)));
}

/** The characters of a name that fit into a label's width. */
export function longestName(width, scale = 1) {
  return Math.min(LONGEST, Math.floor((width / scale - EDGE) / NARROW_LETTER) - VALUE);
}
