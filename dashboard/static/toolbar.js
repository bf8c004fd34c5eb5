// The controls over the charts. Each writes into the view and says so.

import { element } from "./dom.js";
import { MEASURES, X_AXES } from "./draw.js";

const REFRESH = [[0, "Off"], [0.5, "0.5 s"], [1, "1 s"], [5, "5 s"]];
const SMOOTH = [[0, "None"], [0.6, "Light"], [0.9, "Medium"], [0.97, "Strong"]];
const SEEDS = [["both", "Mean, each seed"], ["band", "Mean and band"], ["each", "Each seed"]];
const BANDS = [["range", "Smallest to largest"], ["deviation", "Standard deviation"], ["confidence", "95 % confidence"], ["median", "Median and range"]];

export class Toolbar {
  /** `set(changes)` takes what the user chose; `pause()` and `reset()` act at once. */
  constructor(root, { set, pause, reset, save, cancelAll }) {
    this.view = {};
    this.set = set;
    this.pauseButton = element("button", { type: "button", class: "bhf-button", onclick: pause }, "Pause");
    this.axes = this.segments("x axis", Object.entries(X_AXES).map(([key, { label }]) => [key, label]), "x");
    this.panels = this.toggles("Panels", Object.entries(MEASURES).map(([key, { label }]) => [key, label]));
    this.logY = this.check("log y", "logY");
    this.logX = this.check("log x", "logX");
    this.seeds = this.select("Seeds", SEEDS, "seeds");
    this.band = this.select("Band", BANDS, "band");
    this.smooth = this.select("Smoothing", SMOOTH, "smooth");
    this.refresh = this.select("Refresh", REFRESH, "refresh");
    const zoom = element("button", { type: "button", class: "bhf-button", onclick: reset }, "Reset zoom");
    const saves = group("Save the charts", [["png", "PNG"], ["svg", "SVG"], ["html", "HTML"]], save);
    this.cancelButton = element("button", { type: "button", class: "bhf-button", onclick: () => this.confirm(cancelAll) }, "Cancel all");
    const first = element("div", { class: "bhf-row" }, this.axes, this.panels);
    const second = element(
      "div", { class: "bhf-row" },
      this.logY, this.logX, this.seeds, this.band, this.smooth, this.refresh, this.pauseButton, zoom, saves, this.cancelButton,
    );
    root.append(first, second);
  }

  /** Show the view's state; called after every change. */
  show(view, { paused, seeded, accuracy, open }) {
    this.view = view;
    this.panels.querySelector("[data-value=test_accuracy]").hidden = !accuracy;
    for (const button of this.axes.querySelectorAll("button")) press(button, button.dataset.value === view.x);
    for (const button of this.panels.querySelectorAll("button")) press(button, view.panels.includes(button.dataset.value));
    for (const label of [this.logX, this.logY]) label.firstChild.checked = view[label.dataset.field];
    for (const label of [this.seeds, this.band, this.smooth, this.refresh]) label.lastChild.value = String(view[label.dataset.field]);
    this.seeds.hidden = !seeded;
    this.band.hidden = !seeded || view.seeds === "each";
    this.pauseButton.textContent = paused ? "Resume" : "Pause";
    press(this.pauseButton, paused);
    this.cancelButton.hidden = open < 2;
  }

  /** Ask once more before all runs are cancelled. */
  confirm(act) {
    if (this.sure) act();
    this.sure = !this.sure;
    clearTimeout(this.forget);
    this.forget = setTimeout(() => { this.sure = false; this.cancelButton.textContent = "Cancel all"; }, 4000);
    this.cancelButton.textContent = this.sure ? "Really cancel all?" : "Cancel all";
  }

  segments(name, choices, field) {
    return group(name, choices, (value) => this.set({ [field]: value }));
  }

  toggles(name, choices) {
    return group(name, choices, (value) => {
      const held = this.view.panels;
      const panels = held.includes(value) ? held.filter((panel) => panel !== value) : [...held, value];
      if (panels.length) this.set({ panels: choices.map(([key]) => key).filter((key) => panels.includes(key)) });
    });
  }

  check(name, field) {
    const input = element("input", { type: "checkbox", onchange: () => this.set({ [field]: input.checked }) });
    return element("label", { class: "bhf-check", "data-field": field }, input, name);
  }

  select(name, choices, field) {
    const options = choices.map(([value, label]) => element("option", { value }, label));
    const change = () => {
      const [value] = choices.find(([choice]) => String(choice) === select.value);
      this.set({ [field]: value });
    };
    const select = element("select", { onchange: change }, ...options);
    return element("label", { class: "bhf-select", "data-field": field }, element("span", {}, name), select);
  }
}

function group(name, choices, choose) {
  const buttons = choices.map(([value, label]) =>
    element("button", { type: "button", "data-value": value, onclick: () => choose(value) }, label),
  );
  return element("div", { class: "bhf-segments", role: "group", "aria-label": name }, ...buttons);
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}
