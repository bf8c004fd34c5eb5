// A banner on every page while the backend is unreachable; runs the page's script again once it is back.

import { element, styles } from "../dom.js";
import { get, Unreachable } from "../store/store.js";

const SECONDS = 1.5;
const watching = new WeakMap();

/** Show nothing while the backend is reachable. */
export default function mount(component) {
  const host = component.parentElement;
  const banner = watching.get(host) ?? new Banner(host);
  watching.set(host, banner);
  banner.tell = component.setTriggerValue;
  return banner.dispose;
}

class Banner {
  constructor(host) {
    this.banner = element("div", { class: "bhf-gone", role: "status", hidden: true });
    host.replaceChildren(this.banner);
    this.dispose = () => {
      clearTimeout(this.timer);
      watching.delete(host);
    };
    this.look();
  }

  async look() {
    clearTimeout(this.timer);
    if (!document.hidden) {
      let gone = false;
      try {
        await get("/api/v1/ready");
      } catch (error) {
        gone = error instanceof Unreachable;
      }
      if (this.gone && !gone) this.tell("back", Date.now());
      this.gone = gone;
      this.banner.hidden = !gone;
      this.banner.textContent = gone ? "Backend unreachable. Showing the last known data; reconnecting automatically." : "";
    }
    this.timer = setTimeout(() => this.look(), SECONDS * 1000);
  }
}

// The pages' style sheet, too: Streamlit removes its copy when a fragment shows a message.
await Promise.all([styles("/assets/live.css"), styles("/assets/pages.css")]);
