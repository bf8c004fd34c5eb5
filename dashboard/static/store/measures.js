// The measures and axes that can be drawn, and their names.

export const X_AXES = {
  update: { label: "Updates", title: "updates" },
  epoch: { label: "Epochs", title: "epochs" },
  seconds: { label: "Seconds", title: "training time [s]" },
  cpu_seconds: { label: "CPU seconds", title: "processor time of training [s]" },
  cost: { label: "Cost", title: "cost [gradients of one batch]" },
  samples: { label: "Images", title: "images drawn" },
};

export const MEASURES = {
  train_loss: { label: "Train loss", loss: true },
  test_loss: { label: "Test loss", loss: true },
  test_accuracy: { label: "Test accuracy", share: true },
  batch_loss: { label: "Batch loss", loss: true },
  gradient_norm: { label: "Gradient norm" },
  step_norm: { label: "Step norm" },
  scale: { label: "Accepted step fraction", share: true },
  reduction_ratio: { label: "Reduction ratio", linear: true },
  cg_iterations: { label: "CG iterations", block: true, linear: true, count: true },
  stop_reason: { label: "Stop reason", block: true, words: true },
  residual: { label: "CG residual", block: true },
  model_decrease: { label: "Model decrease", block: true },
  decreases: { label: "Model and loss decrease", block: true, fields: ["loss_decrease"] },
  ritz_max: { label: "Largest Ritz value", block: true },
  ritz_min: { label: "Smallest Ritz value", block: true },
  block_step_norm: { label: "Block step norm", block: true, column: "step_norm" },
  cost: { label: "Solver cost", block: true },
  time: { label: "Where the time goes", bars: true, fields: ["gradient_seconds", "curvature_seconds", "evaluation_seconds"] },
  gradient_seconds: { label: "Gradient time", seconds: true },
  curvature_seconds: { label: "Curvature time", seconds: true },
  evaluation_seconds: { label: "Evaluation time", seconds: true },
};

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
