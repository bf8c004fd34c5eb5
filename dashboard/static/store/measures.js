// The measures and axes that can be drawn, and their names.

/** The x axes by name, and the panels that can be drawn; `describe` fills both from the backend's list of measures. */
export const X_AXES = {};
export const MEASURES = {};
/** The measures by which runs are compared. */
export const COMPARED = [];

/** Panels that draw several measures at once. */
const COMPOSITES = {
  decreases: { label: "Model and loss decrease", block: true, fields: ["loss_decrease"] },
  time: { label: "Where the time goes", bars: true, fields: ["gradient_seconds", "curvature_seconds", "evaluation_seconds"] },
};

/** Take over the records of `backend.schemas.measures`. */
export function describe(records) {
  for (const { name, panel, level, kind, label, title, unit, scale, group, better } of records) {
    if (level === "axis") {
      X_AXES[name] = { label, unit, title: unit ? `${title} [${unit}]` : title };
      continue;
    }
    MEASURES[panel] = {
      label,
      loss: unit === "loss",
      share: scale === "share",
      linear: scale === "linear",
      seconds: group === "times",
      block: level === "block",
      count: kind === "integer",
      words: kind === "text",
      column: name,
      better,
    };
    if (better && !COMPARED.includes(name)) COMPARED.push(name);
  }
  Object.assign(MEASURES, COMPOSITES);
}

/** The axes whose values say what reaching a target cost; the images follow from the updates. */
export function costAxes() {
  return Object.keys(X_AXES).filter((name) => name !== "samples");
}

export const PARTS = { curves: "Training curves", blocks: "Per-block solver", times: "Timing" };

/** The part of the panels to which a measure belongs. */
export function partOf({ block, bars, seconds }) {
  if (block) return "blocks";
  return bars || seconds ? "times" : "curves";
}

/** Escape text for Plotly, which reads tags and entities. */
export function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The fields to request: drawn measures, x axis and the target's measure; blocks are requested separately. */
export function fieldsOf(view) {
  const fields = ([name, { block, fields: own }]) => own ?? (block ? [] : [name]);
  const named = [...new Set([...view.panels, view.targetOf])].filter((name) => MEASURES[name]);
  const axis = view.x === "update" ? [] : [view.x];
  return [...new Set([...named.flatMap((name) => fields([name, MEASURES[name]])), ...axis])];
}

/** The measures to draw; accuracy only if there is one. */
export function panelsOf(view, accuracy) {
  return view.panels.filter((name) => MEASURES[name] && (accuracy || name !== "test_accuracy"));
}
