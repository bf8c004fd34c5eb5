// A link to this view with its QR code, and how others can open it.

import { element } from "../dom.js";

const LOOPBACK = /^(localhost|127\.[0-9.]+|\[::1\])$/;

/** The address of a view for others: without the lecture mode, in which a phone's text would be too large. */
export function linkOf(address) {
  const url = new URL(address);
  url.searchParams.delete("view");
  return url.href;
}

/** What to say about a link: whether others can open it, and what they can do then. */
export function adviceOf(hostname, readOnly) {
  if (LOOPBACK.test(hostname)) return "Only this computer can open this address. To let others in, run \u201cblockhf share\u201d in a terminal, and open the address that it prints. There everything can be seen and nothing changed.";
  if (readOnly) return "Whoever opens this link sees everything and can change nothing. The device must be in the same network as this computer.";
  return "Whoever opens this link can also launch and cancel runs. \u201cblockhf share\u201d, run in a terminal, prints an address that only shows.";
}

export class Share {
  constructor() {
    this.code = element("div");
    this.link = element("input", { class: "bhf-link", readonly: true, "aria-label": "Link to this view", onfocus: () => this.link.select() });
    this.copied = element("button", { type: "button", class: "bhf-button", onclick: () => this.copy() }, "Copy link");
    this.advice = element("p", { class: "bhf-advice" });
    this.box = element("div", { class: "bhf-share" }, this.code, element("div", { class: "bhf-row" }, this.link, this.copied), this.advice);
  }

  /** Show the link to what is on the screen now. */
  show(readOnly) {
    const link = linkOf(location.href);
    this.link.value = link;
    this.advice.textContent = adviceOf(location.hostname, readOnly);
    this.copied.textContent = "Copy link";
    const src = `/qr.svg?text=${encodeURIComponent(link)}`;
    this.code.replaceChildren(...(LOOPBACK.test(location.hostname) ? [] : [element("img", { class: "bhf-code", alt: "QR code of the link", src })]));
  }

  copy() {
    this.link.select();
    const done = document.execCommand("copy"); // the newer function is forbidden on pages without https
    this.copied.textContent = done ? "Copied" : "Press Ctrl+C";
  }
}
