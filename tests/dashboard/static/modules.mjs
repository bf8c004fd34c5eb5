// Where the browser's modules are: the one place that knows their paths.

const ROOT = new URL(process.env.BLOCKHF_STATIC ? `file://${process.env.BLOCKHF_STATIC}/` : "../../../dashboard/static/", import.meta.url);
const PATHS = {
  answer: "store/answer.js",
  brush: "plot/brush.js",
  detail: "store/zoom_detail.js",
  draw: "plot/draw.js",
  extent: "plot/extent.js",
  filter: "store/filter.js",
  lineEnds: "plot/line_ends.js",
  measures: "store/measures.js",
  numbers: "store/numbers.js",
  order: "panels/sortable_header.js",
  progress: "store/progress.js",
  ranking: "store/ranking.js",
  readout: "plot/readout.js",
  save: "plot/save.js",
  series: "store/series.js",
  store: "store/store.js",
  share: "panels/share.js",
  target: "store/time_to_target.js",
  theme: "plot/theme.js",
  touch: "plot/touch.js",
  time: "store/time_breakdown.js",
  zoom: "plot/zoom.js",
};

/** Import one of the modules; the measures are those of the backend. */
export async function load(name) {
  const { describe } = await import(new URL(PATHS.measures, ROOT));
  describe(JSON.parse(process.env.BLOCKHF_MEASURES));
  return import(new URL(PATHS[name], ROOT));
}

/** Whether numbers are equal but for rounding. */
export function near(found, expected, tolerance = 1e-6) {
  return [found].flat().every((value, i) => Math.abs(value - [expected].flat()[i]) <= tolerance * Math.max(1, Math.abs(value)));
}
