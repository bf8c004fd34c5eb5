// One crosshair over all panels: a line at the pointer's place of the x axis, and the values of the curves there.

import { element } from "../dom.js";
import { MEASURES, X_AXES } from "../store/measures.js";
import { significant } from "../store/numbers.js";
import { readout } from "./readout.js";

const MOST = 12; // values in a box
const NEAR = 14; // distance from which a curve is highlighted [px]

export class Crosshair {
  /** `chart` is the plotly element inside `box`; `near(group)` is called with the curve at the pointer, or null. */
  constructor(box, chart, near) {
    [this.box, this.chart, this.near] = [box, chart, near];
    this.parts = [];
    chart.addEventListener("mousemove", (event) => this.move(event));
    chart.addEventListener("mouseleave", () => this.hide());
  }

  hide() {
    for (const part of this.parts.splice(0)) part.remove();
    this.near(null);
  }

  /** Show the values at the pointer. */
  move({ clientX, clientY }) {
    const { panels, view } = this.shown ?? {};
    const layout = this.chart._fullLayout;
    if (!panels?.length || !layout) return;
    const { left, top } = this.chart.getBoundingClientRect();
    const at = { x: clientX - left, y: clientY - top };
    const places = panels.map((panel) => ({ ...panel, ...axesOf(layout, panel.axis) })).filter(({ x, y }) => x && y);
    const under = places.find(({ x, y }) => at.x >= x._offset && at.x <= x._offset + x._length && at.y >= y._offset && at.y <= y._offset + y._length);
    if (!under) return this.hide();
    const value = under.x.p2d(at.x - under.x._offset);
    for (const part of this.parts.splice(0)) part.remove();
    let close = null;
    for (const place of places) {
      const reach = Math.abs(place.x.p2d(8) - place.x.p2d(0)) || 0;
      const rows = readout(place.lines, value, reach, MEASURES[place.measure].better === "higher");
      this.draw(place, rows, value, view);
      if (place !== under) continue;
      const distance = ({ y }) => Math.abs(place.y.d2p(y) + place.y._offset - at.y);
      close = rows.filter((row) => distance(row) <= NEAR).sort((a, b) => distance(a) - distance(b))[0] ?? null;
    }
    this.near(close?.group ?? null);
    return undefined;
  }

  draw({ x, y, measure }, rows, value, view) {
    const place = x._offset + x.d2p(value);
    const line = element("div", { class: "bhf-cross", style: `left:${place}px;top:${y._offset}px;height:${y._length}px` });
    this.add(line);
    if (!rows.length) return;
    const { label, unit } = X_AXES[view.x];
    const nearestX = Number.isInteger(rows[0].x) ? rows[0].x : value;
    const head = `${label} ${significant(nearestX, 4)}${unit && !label.toLowerCase().includes(unit.toLowerCase()) ? ` ${unit}` : ""}`;
    const lines = rows.slice(0, MOST).map((row) => {
      const text = MEASURES[measure].share ? `${significant(100 * row.y, 4)} %` : significant(row.y, 4);
      return element(
        "tr", {}, element("td", {}, element("span", { class: "bhf-mark", style: `background:${row.colour}` }), row.label),
        element("td", {}, text), element("td", {}, row.note ?? ""),
      );
    });
    const rest = rows.length > MOST ? element("div", { class: "bhf-count" }, `and ${rows.length - MOST} more`) : null;
    const box = element("div", { class: "bhf-readout" }, element("strong", {}, head), element("table", {}, ...lines), rest);
    const right = place < x._offset + x._length / 2;
    box.style.top = `${y._offset + 4}px`;
    if (right) box.style.left = `${place + 12}px`;
    else box.style.right = `${this.box.clientWidth - place + 12}px`;
    this.add(box);
  }

  add(part) {
    part.setAttribute("aria-hidden", "true");
    this.parts.push(part);
    this.box.append(part);
  }
}

function axesOf(layout, axis) {
  return { x: layout[`xaxis${axis}`], y: layout[`yaxis${axis}`] };
}
