// Watches over every page: says when the backend has gone, and has the page run again when it is back.

import { element, styles } from "../dom.js";
import { get, Unreachable } from "../store/store.js";

const SECONDS = 1.5;
const watching = new WeakMap();

/** Show nothing while all is well. */
export default function mount(component) {
  const host = component.parentElement;
  const watch = watching.get(host) ?? new Watch(host);
  watching.set(host, watch);
  watch.tell = component.setTriggerValue;
  return watch.dispose;
}

class Watch {
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
      this.banner.textContent = gone ? "The backend cannot be reached. What is shown stays; this page goes on by itself." : "";
    }
    this.timer = setTimeout(() => this.look(), SECONDS * 1000);
  }
}

// The pages' own sheet too: the one that Streamlit holds goes when a message is shown from a part of a page.
await Promise.all([styles("/assets/live.css"), styles("/assets/pages.css")]);
