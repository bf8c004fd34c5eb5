// Polls the API, and runs the page's script again only if an answer differs from what the page shows.

import { queue } from "./queue.js";
import { get } from "../store/store.js";

const polling = new WeakMap();
const PATCHES = { queue };

/** The chosen fields of each row of an answer as text; without a list name the answer itself is the only row. */
export function fieldsText(body, { rows, fields }) {
  return JSON.stringify((rows ? body[rows] : [body]).map((row) => fields.map((name) => row[name])));
}

/** Whether an answer agrees with what the page shows; `seen` is the server's text of it. */
export function same(body, read) {
  return fieldsText(body, read) === JSON.stringify(JSON.parse(read.seen));
}

/** Show nothing; poll while the tab is visible. */
export default function mount(component) {
  const host = component.parentElement;
  const refresh = polling.get(host) ?? new AutoRefresh(host);
  polling.set(host, refresh);
  refresh.update(component);
  return refresh.dispose;
}

class AutoRefresh {
  constructor(host) {
    this.seen = () => document.hidden || this.look();
    document.addEventListener("visibilitychange", this.seen);
    this.dispose = () => {
      this.gone = true;
      clearTimeout(this.timer);
      document.removeEventListener("visibilitychange", this.seen);
      polling.delete(host);
    };
  }

  update({ data, setTriggerValue }) {
    if (data.now !== this.data?.now) this.ahead = Date.now() / 1000 - data.now; // seconds by which this clock is ahead of the server's
    [this.data, this.tell] = [data, setTriggerValue];
    this.wait();
  }

  wait() {
    clearTimeout(this.timer);
    if (!this.gone && !document.hidden) this.timer = setTimeout(() => this.look(), 1000 * this.data.every);
  }

  async look() {
    clearTimeout(this.timer);
    const { data } = this;
    try {
      const answers = await Promise.all(data.reads.map(({ path }) => get(path)));
      if (this.gone || data !== this.data) return;
      if (answers.every((body, i) => same(body, data.reads[i]))) PATCHES[data.patch]?.(answers, Date.now() / 1000 - this.ahead);
      else this.tell("changed", Date.now());
    } catch {
      // The page's banner reports an unreachable backend; other errors may be temporary.
    }
    this.wait();
  }
}
