// Where the browser's modules are: the one place that knows their paths.

const ROOT = new URL(process.env.BLOCKHF_STATIC ? `file://${process.env.BLOCKHF_STATIC}/` : "../../../dashboard/static/", import.meta.url);
const PATHS = {
  detail: "detail.js",
  draw: "draw.js",
  filter: "filter.js",
  heads: "heads.js",
  measures: "measures.js",
  series: "series.js",
  store: "store.js",
  target: "target.js",
  theme: "theme.js",
  time: "time.js",
  zoom: "zoom.js",
};

/** Import one of the modules. */
export function load(name) {
  return import(new URL(PATHS[name], ROOT));
}

/** Whether numbers are equal but for rounding. */
export function near(found, expected, tolerance = 1e-6) {
  return [found].flat().every((value, i) => Math.abs(value - [expected].flat()[i]) <= tolerance * Math.max(1, Math.abs(value)));
}
