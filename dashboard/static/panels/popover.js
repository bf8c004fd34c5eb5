// A button that opens a panel below it. The browser closes the panel at Escape and at a press elsewhere.

import { element } from "../dom.js";

const EDGE = 8; // distance of the panel from the button and from the window's edge [px]

/** A button and its panel with the children; `close()` closes it. */
export function popover(text, name, ...children) {
  const panel = element("div", { class: "bhf-popover", popover: "auto", role: "group", "aria-label": name }, ...children);
  const button = element("button", { type: "button", class: "bhf-button bhf-menu", "aria-expanded": "false", "aria-label": name }, text);
  button.popoverTargetElement = panel;
  const place = () => {
    const { left, bottom } = button.getBoundingClientRect();
    const furthest = window.innerWidth - (panel.offsetWidth || 0) - EDGE;
    panel.style.left = `${Math.max(EDGE, Math.min(left, furthest))}px`;
    panel.style.top = `${bottom + EDGE / 2}px`;
    panel.style.maxHeight = `${Math.max(160, window.innerHeight - bottom - 2 * EDGE)}px`;
  };
  panel.addEventListener("beforetoggle", place);
  panel.addEventListener("toggle", ({ newState }) => {
    button.setAttribute("aria-expanded", String(newState === "open"));
    place(); // the panel's width is known only now
    const listen = newState === "open" ? "addEventListener" : "removeEventListener";
    window[listen]("scroll", place, { capture: true, passive: true });
  });
  return { button, panel, close: () => panel.hidePopover() };
}
