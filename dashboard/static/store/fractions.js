// A ratio in words. Pure functions.

import { significant } from "./numbers.js";

/** A ratio before a noun: "1/4 of", "1.3 \u00d7"; near one "as many as". */
export function fraction(ratio) {
  if (Math.abs(ratio - 1) < 0.05) return "as many as";
  const whole = Math.round(1 / ratio);
  return whole > 1 && Math.abs(1 / ratio - whole) < 0.05 * whole ? `1/${whole} of` : `${significant(ratio, 2)} \u00d7`;
}
