// Brushes of parallel coordinates: a drag over an axis shows only the lines within that range. Pure functions.

const FAINT = 0.06;

/** The axis that a dragged box concerns: the only one inside, else the nearest to its middle. */
export function axisOf([from, to], count) {
  const inside = Array.from({ length: count }, (_, axis) => axis).filter((axis) => axis >= from && axis <= to);
  const middle = (from + to) / 2;
  return inside.length === 1 ? inside[0] : Math.max(0, Math.min(count - 1, Math.round(middle)));
}

/** The opacity of each line: those outside one of the ranges, by axis, are faint. */
export function opacities(lines, ranges) {
  return lines.map(({ y, opacity = 1 }) => ([...ranges].every(([axis, [low, high]]) => y[axis] >= low && y[axis] <= high) ? opacity : FAINT));
}

/** The ranges as shapes over their axes. */
export function shapes(ranges, colour) {
  return [...ranges].map(([axis, [low, high]]) => ({ type: "rect", x0: axis - 0.04, x1: axis + 0.04, y0: low, y1: high, line: { width: 1, color: colour }, fillcolor: colour, opacity: 0.3 }));
}
