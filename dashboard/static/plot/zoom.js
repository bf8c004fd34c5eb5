// The zoomed ranges of axes as a part of the URL. Pure functions, no page.

/** Read the zoomed ranges from their place in the URL: "x:0:50,train_loss:1:2". */
export function readZoom(text) {
  const found = {};
  for (const part of (text ?? "").split(",")) {
    const [name, low, high] = part.split(":");
    const ends = [Number.parseFloat(low), Number.parseFloat(high)];
    if (name && ends.every(Number.isFinite)) found[name] = ends;
  }
  return found;
}

/** Write zoomed ranges as a part of the URL. */
export function writeZoom(zoom) {
  const parts = Object.entries(zoom).map(([name, [low, high]]) => `${name}:${+low.toPrecision(7)}:${+high.toPrecision(7)}`);
  return parts.join(",");
}

/** An axis's own range: the zoomed one, or all. */
export function range(zoom, name) {
  const ends = readZoom(zoom)[name];
  return ends ? { range: ends, autorange: false } : { autorange: true };
}
