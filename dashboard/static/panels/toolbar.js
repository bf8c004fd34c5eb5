// The controls above the charts. Each changes the view.

import { element, labelled, put } from "../dom.js";
import { STATES } from "../store/filter.js";
import { MEASURES, PARTS, partOf, X_AXES } from "../store/measures.js";
import { popover } from "./popover.js";
import { Share } from "./share.js";
import { options } from "./target_panel.js";

const REFRESH = [[0, "Off"], [0.5, "0.5 s"], [1, "1 s"], [5, "5 s"]];
const SMOOTH = [[0, "None"], [0.6, "Light"], [0.9, "Medium"], [0.97, "Strong"]];
const SEEDS = [["both", "Mean + seeds"], ["band", "Mean only"], ["each", "Individual seeds"]];
const CENTRES = [["mean", "Mean"], ["median", "Median"]];
const BANDS = [["range", "Min\u2013max"], ["deviation", "Standard deviation"], ["confidence", "95 % confidence"]];
const SIZES = [["screen", "As on the screen"], ["slide", "Slide"], ["column", "Paper column"]];
const MAIN_AXES = ["update", "seconds", "cost"]; // the others are behind "More"
const LAYOUTS = [["grid", "Side by side"], ["stack", "Stacked"]];

export class Toolbar {
  /** `set(changes)` changes the view; `pause()` freezes the display, `reset()` resets the zoom, `present()` begins a lecture. */
  constructor(root, { set, pause, reset, save, present }) {
    this.view = {};
    this.set = set;
    const axes = Object.entries(X_AXES).map(([key, { label }]) => [key, label]);
    this.axes = this.segments("x axis", axes.filter(([key]) => MAIN_AXES.includes(key)), "x");
    this.otherAxes = this.segments("More x axes", axes.filter(([key]) => !MAIN_AXES.includes(key)), "x");
    this.more = popover("More", "More x axes", this.otherAxes);
    this.otherAxes.addEventListener("click", () => this.more.close());
    this.axes.append(this.more.button, this.more.panel);
    this.panels = element("div", { class: "bhf-parts", role: "group", "aria-label": "Panels" });
    this.panels.append(...Object.keys(PARTS).map((part) => this.toggles(part)));
    this.logY = this.check("log y", "logY");
    this.logX = this.check("log x", "logX");
    this.seeds = this.select("Seeds", SEEDS, "seeds");
    this.centre = this.select("Line", CENTRES, "centre");
    this.band = this.select("Band", BANDS, "band");
    this.layout = this.select("Layout", LAYOUTS, "layout");
    this.smooth = this.select("Smoothing", SMOOTH, "smooth");
    this.refresh = this.select("Refresh", REFRESH, "refresh");
    this.full = this.check("all values", "full");
    const scales = element("div", { class: "bhf-row" }, this.logY, this.logX, this.full);
    const choices = element(
      "div", { class: "bhf-choices" }, scales, this.smooth, this.seeds, this.centre, this.band, this.layout, this.refresh,
    );
    const size = element("select", {}, ...SIZES.map(([value, label]) => element("option", { value }, label)));
    const saves = group("Save the charts", [["png", "PNG"], ["svg", "SVG"], ["html", "HTML"]], (format) => save(format, size.value));
    this.share = new Share();
    const exports = element("div", { class: "bhf-choices" }, labelled("Size of pictures", size), saves, this.share.box);
    const menus = [["Metrics", this.panels], ["View", choices], ["Export", exports]].map(([name, content]) => popover(name, name, content));
    menus[2].button.classList.add("bhf-wide");
    menus[2].panel.addEventListener("beforetoggle", ({ newState }) => newState === "open" && this.share.show(this.readOnly));
    const presentButton = element("button", { type: "button", class: "bhf-button bhf-wide", title: "The charts fill the screen, for a lecture", onclick: present }, "Present");
    this.pauseButton = element("button", { type: "button", class: "bhf-button bhf-wide", onclick: pause, "aria-pressed": "false" }, "Freeze display");
    this.zoomButton = element("button", { type: "button", class: "bhf-button", onclick: reset }, "Reset zoom");
    this.fullButton = element("button", { type: "button", class: "bhf-button", hidden: true, onclick: () => set({ full: !this.view.full }) }, "Show all values");
    root.append(
      this.axes, ...menus.flatMap(({ button, panel }) => [button, panel]), this.pauseButton, presentButton, this.zoomButton,
    );
  }

  /** Show the state of the view. */
  show(view, { paused, seeded, solves, accuracy, readOnly }) {
    [this.view, this.readOnly] = [view, readOnly];
    this.panels.querySelector("[data-value=test_accuracy]").hidden = !accuracy;
    for (const button of [this.axes, this.otherAxes].flatMap((part) => [...part.querySelectorAll("[data-value]")])) press(button, button.dataset.value === view.x);
    const other = !MAIN_AXES.includes(view.x);
    put(this.more.button, other ? X_AXES[view.x].label : "More");
    this.more.button.setAttribute("aria-label", other ? `${X_AXES[view.x].label}, more x axes` : "More x axes");
    press(this.more.button, other);
    this.panels.querySelector("[data-part=blocks]").hidden = !solves;
    for (const button of this.panels.querySelectorAll("button")) press(button, view.panels.includes(button.dataset.value));
    for (const label of [this.logX, this.logY, this.full]) label.firstChild.checked = view[label.dataset.field];
    for (const label of [this.seeds, this.centre, this.band, this.smooth, this.layout, this.refresh]) label.lastChild.value = String(view[label.dataset.field]);
    this.seeds.hidden = !seeded;
    for (const label of [this.centre, this.band]) label.hidden = !seeded || view.seeds === "each";
    this.layout.hidden = view.panels.length < 2;
    put(this.pauseButton, paused ? "Unfreeze" : "Freeze display");
    press(this.pauseButton, paused);
    this.zoomButton.hidden = !view.zoom;
  }

  /** Offer all values if curves leave a panel through its top. */
  showClipped(clipped, full) {
    this.fullButton.hidden = !clipped && !full;
    press(this.fullButton, full);
  }

  segments(name, choices, field) {
    return group(name, choices, (value) => this.set({ [field]: value }));
  }

  /** Buttons that show and hide the panels of one part; panels are in the order of the buttons. */
  toggles(part) {
    const choices = Object.entries(MEASURES).filter(([, measure]) => partOf(measure) === part);
    const buttons = group(PARTS[part], choices.map(([key, { label }]) => [key, label]), (value) => {
      const held = this.view.panels;
      const panels = held.includes(value) ? held.filter((panel) => panel !== value) : [...held, value];
      if (panels.length) this.set({ panels: Object.keys(MEASURES).filter((key) => panels.includes(key)) });
    });
    return element("div", { class: "bhf-part-row", "data-part": part }, element("span", {}, PARTS[part]), buttons);
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
    const label = labelled(name, select);
    label.dataset.field = field;
    return label;
  }
}

/** The head of the run table: filters of the runs in charts and tables, and a button that cancels the open runs. */
export class RunsHead {
  /** `set(changes)` changes the view; `cancelAll()` cancels the runs that have not ended. */
  constructor(root, set, cancelAll) {
    const typed = () => set({ filter: this.words.value.slice(0, 80) });
    this.words = element("input", { type: "search", placeholder: "e.g. bhf damping", oninput: typed });
    const chosen = (field) => element("select", { onchange: (event) => set({ [field]: event.target.value }) });
    [this.status, this.optimizer, this.problem] = ["status", "optimizer", "problem"].map(chosen);
    options(this.status, Object.entries(STATES).map(([key, { label }]) => [key, label]));
    this.count = element("span", { class: "bhf-count", role: "status" });
    root.append(
      labelled("Filter runs", this.words), labelled("Status", this.status), labelled("Optimizer", this.optimizer), labelled("Problem", this.problem), this.count,
    );
    this.cancelButton = confirmed(cancelAll);
    this.cancelButton.classList.add("bhf-change");
    root.append(this.cancelButton);
  }

  /** Show the current choice; a list with a single choice is hidden. */
  show(view, { shown, all, runs, names, open }) {
    this.cancelButton.hidden = open < 2;
    if (this.cancelButton.dataset.count !== String(open)) this.cancelButton.reset(open);
    if (document.activeElement !== this.words) this.words.value = view.filter;
    this.status.value = view.status;
    const configs = [...runs.values()].map(({ config }) => config);
    this.offer(this.optimizer, configs.map(({ optimizer }) => optimizer.kind), view.optimizer, names);
    this.offer(this.problem, configs.map(({ problem }) => problem.name), view.problem, {});
    const text = shown < all ? `${shown} of ${all} runs` : "";
    put(this.count, text);
  }

  offer(select, values, chosen, names) {
    const known = [...new Set([...values, ...(chosen ? [chosen] : [])])].sort();
    options(select, [["", "All"], ...known.map((value) => [value, names[value] ?? value])], chosen);
    select.parentElement.hidden = known.length < 2 && !chosen;
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

/** A button that acts at the second press within four seconds. */
function confirmed(act) {
  const button = element("button", { type: "button", class: "bhf-button" });
  let [sure, timer] = [false, 0];
  const say = () => put(button, sure ? `Really cancel ${button.dataset.count} runs?` : `Cancel ${button.dataset.count} runs`);
  button.reset = (count) => {
    button.dataset.count = String(count);
    sure = false;
    say();
  };
  button.addEventListener("click", () => {
    if (sure) act();
    sure = !sure;
    say();
    clearTimeout(timer);
    timer = setTimeout(() => button.reset(button.dataset.count), 4000);
  });
  return button;
}
