// Numbers as text: a column has the same number of decimals, a time at most three digits. Pure functions.

const FORMATS = new Map(); // creating a format takes longer than using it

function fixed(value, decimals) {
  const known = FORMATS.get(decimals) ?? new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  FORMATS.set(decimals, known);
  return known.format(value);
}

const SUPER = { "-": "\u207b", 0: "\u2070", 1: "\u00b9", 2: "\u00b2", 3: "\u00b3", 4: "\u2074", 5: "\u2075", 6: "\u2076", 7: "\u2077", 8: "\u2078", 9: "\u2079" };

/** A power of ten as text: "3.2 \u00b7 10\u2077". */
export function power(value, digits = 2) {
  const [mantissa, exponent] = value.toExponential(Math.max(0, digits - 1)).split("e");
  const raised = `10${[...String(Number(exponent))].map((sign) => SUPER[sign]).join("")}`;
  return Number(mantissa) === 1 ? raised : `${Number(mantissa)} \u00b7 ${raised}`;
}

const extreme = (value) => value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6);

/** A number with at most so many significant digits, without trailing zeros; a dash if it is missing. */
export function significant(value, digits = 4) {
  if (value == null || !Number.isFinite(value)) return "\u2013";
  if (extreme(value)) return power(value, Math.min(digits, 3));
  const rounded = Number(value.toPrecision(digits));
  return rounded.toLocaleString("en-US", { maximumFractionDigits: 8 });
}

/**
 * The decimals of a column: its smallest value has so many significant digits, and no decimal is zero in every row.
 * `values` may be some of the column's values, such as its means.
 */
export function decimals(values, digits = 4) {
  const known = values.filter((value) => value != null && Number.isFinite(value) && !extreme(value));
  const sizes = known.map(Math.abs).filter((size) => size > 0);
  if (!sizes.length) return 0;
  let places = Math.min(6, Math.max(0, digits - 1 - Math.floor(Math.log10(Math.min(...sizes)))));
  while (places > 0 && known.every((value) => value.toFixed(places).endsWith("0"))) places -= 1;
  return places;
}

/** A number of a column with its decimals; a dash if it is missing. */
export function aligned(value, places) {
  if (value == null || !Number.isFinite(value)) return "\u2013";
  return extreme(value) ? power(value, 3) : fixed(value, places);
}

/** A duration with at most three digits: "0.21 s", "184 s", "12.3 min". */
export function time(seconds) {
  if (seconds == null) return "\u2013";
  if (seconds < 600) return `${Number(seconds.toPrecision(3))} s`;
  const minutes = seconds < 36_000;
  return `${Number((seconds / (minutes ? 60 : 3600)).toPrecision(3))} ${minutes ? "min" : "h"}`;
}
