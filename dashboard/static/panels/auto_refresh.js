// Asks the API whether what a page shows has changed, and has its script run again only then.

import { queue } from "./queue.js";
import { get } from "../store/store.js";

const asking = new WeakMap();
const PATCHES = { queue };

/** The named fields of each row of an answer, as text; the answer itself is the one row where no list is named. */
export function shownBy(body, { rows, fields }) {
  return JSON.stringify((rows ? body[rows] : [body]).map((row) => fields.map((name) => row[name])));
}

/** Whether an answer says what the page shows: `seen` is the same text, written by another writer. */
export function same(body, read) {
  return shownBy(body, read) === JSON.stringify(JSON.parse(read.seen));
}

/** Show nothing; ask while the tab is seen. */
export default function mount(component) {
  const host = component.parentElement;
  const fresh = asking.get(host) ?? new Fresh(host);
  asking.set(host, fresh);
  fresh.update(component);
  return fresh.dispose;
}

class Fresh {
  constructor(host) {
    this.seen = () => document.hidden || this.look();
    document.addEventListener("visibilitychange", this.seen);
    this.dispose = () => {
      this.gone = true;
      clearTimeout(this.timer);
      document.removeEventListener("visibilitychange", this.seen);
      asking.delete(host);
    };
  }

  update({ data, setTriggerValue }) {
    if (data.now !== this.data?.now) this.ahead = Date.now() / 1000 - data.now; // how far this clock is ahead of the server's
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
      // the watch over the page says that the backend has gone, and what else fails may go by itself
    }
    this.wait();
  }
}
