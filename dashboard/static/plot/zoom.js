// The zoomed ranges of axes as a part of the URL. Pure functions.

/** Read zoomed ranges: "x:0:50,train_loss:1:2". */
export function readZoom(text) {
  const found = {};
  for (const part of (text ?? "").split(",")) {
    const [name, low, high] = part.split(":");
    const ends = [Number.parseFloat(low), Number.parseFloat(high)];
    if (name && ends.every(Number.isFinite)) found[name] = ends;
  }
  return found;
}

/** Write zoomed ranges. */
export function writeZoom(zoom) {
  const parts = Object.entries(zoom).map(([name, [low, high]]) => `${name}:${+low.toPrecision(7)}:${+high.toPrecision(7)}`);
  return parts.join(",");
}

/** The range of an axis for plotly: zoomed or automatic. */
export function range(zoom, name) {
  const ends = readZoom(zoom)[name];
  return ends ? { range: ends, autorange: false } : { autorange: true };
}
