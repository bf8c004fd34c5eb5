// Lecture mode: the charts fill the screen, keys choose the x axis and freeze the display.

import { element, put } from "../dom.js";
import { X_AXES } from "../store/measures.js";
import { popover } from "./popover.js";
import { Share } from "./share.js";

const CLASS = "bhf-presenting"; // of the page's root element: hides the rest of the page

export class Lecture {
  /** `set(changes)` changes the view; `freeze()` freezes or unfreezes the display. */
  constructor(root, { set, freeze }) {
    [this.root, this.set, this.freeze] = [root, set, freeze];
    const button = (text, onclick) => element("button", { type: "button", class: "bhf-button", onclick }, text);
    this.title = element("h1", {});
    this.status = element("span", { class: "bhf-lecture-status" });
    this.share = new Share();
    this.code = popover("QR code", "Link and QR code", this.share.box);
    this.code.panel.addEventListener("beforetoggle", ({ newState }) => newState === "open" && this.share.show(this.readOnly));
    this.full = button("Full screen", () => this.fill());
    this.head = element("div", { class: "bhf-lecture-head" }, this.title, this.status, this.code.button, this.code.panel, this.full, button("Leave", () => this.leave()));
    const axes = Object.entries(X_AXES).map(([key, { label }], i) => [key, button(`${i + 1} ${label}`, () => set({ x: key }))]);
    this.axes = Object.fromEntries(axes);
    this.still = button("", freeze);
    this.foot = element("div", { class: "bhf-lecture-foot" }, ...axes.map(([, node]) => node), this.still);
    this.pressed = (event) => this.on && this.key(event);
    this.filled = () => this.screenChanged();
    document.addEventListener("keydown", this.pressed);
    document.addEventListener("fullscreenchange", this.filled);
  }

  dispose() {
    document.removeEventListener("keydown", this.pressed);
    document.removeEventListener("fullscreenchange", this.filled);
    document.documentElement.classList.remove(CLASS);
  }

  /** Show the mode's head and foot, if it is on. */
  show({ on, title, status, paused, x, readOnly }) {
    [this.on, this.readOnly] = [on, readOnly];
    this.root.classList.toggle("bhf-lecture", on);
    document.documentElement.classList.toggle(CLASS, on);
    [this.head.hidden, this.foot.hidden] = [!on, !on];
    put(this.title, title);
    put(this.status, status);
    put(this.still, paused ? "Space: unfreeze" : "Space: freeze");
    this.still.setAttribute("aria-pressed", String(paused));
    for (const [key, node] of Object.entries(this.axes)) node.setAttribute("aria-pressed", String(key === x));
  }

  /** Begin; a browser fills the screen only for a press of a button. */
  enter() {
    this.set({ view: "present" });
    this.fill();
  }

  fill() {
    this.root.requestFullscreen?.().catch(() => {}); // a device without full screen shows the charts in its window
  }

  leave() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.set({ view: "" });
  }

  screenChanged() {
    this.full.hidden = Boolean(document.fullscreenElement);
    if (this.on && !document.fullscreenElement) this.set({ view: "" });
  }

  key(event) {
    const { key, target, ctrlKey, metaKey, altKey } = event;
    const inControl = target.closest?.("input, select, textarea") || (key === " " && target.closest?.("button"));
    if (ctrlKey || metaKey || altKey || inControl) return;
    const axis = Object.keys(this.axes)[Number(key) - 1];
    if (axis) this.set({ x: axis });
    else if (key === " ") this.freeze();
    else if (key === "Escape" && !this.code.panel.matches(":popover-open")) this.leave();
    else return;
    event.preventDefault();
  }
}
