// The data of the page's runs, and the polling that updates them.

import { detailQuery, withDetail } from "./zoom_detail.js";
import { costAxes } from "./measures.js";
import { bucketFor, join } from "./series.js";

const CHUNK = 50; // runs per request, because the length of a URL is limited
const RETRY_SECONDS = 1.5;

export class Unreachable extends Error {}

/** GET JSON from the dashboard's origin; throws Unreachable if the backend does not answer. */
export async function get(path, signal) {
  let answer;
  try {
    answer = await fetch(path, { headers: { accept: "application/json" }, signal });
  } catch (error) {
    if (signal?.aborted && signal.reason !== TIMEOUT) throw error;
    throw new Unreachable(String(error));
  }
  if (answer.status >= 502) throw new Unreachable(`status ${answer.status}`);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.title ?? `status ${answer.status}`);
  return body;
}

const TIMEOUT = "timeout";

export class Store {
  /** `changed` is called after each change of the data or the connection. */
  constructor(changed) {
    this.changed = changed;
    this.series = new Map(); // run id -> columns
    this.runs = new Map(); // run id -> Run of the API
    this.cursors = new Map(); // run id -> {rowGeneration, after, status, last}: what has been read, and what there was to read
    this.bucket = 1;
    this.expected = 1;
    this.blocks = new Map(); // run id -> columns of its blocks: block0_cg_iterations, ...
    this.blockIds = [];
    this.detail = null; // finer series of the zoomed range
    this.zoom = null;
    this.ids = [];
    this.experiments = [];
    this.fields = [];
    this.refresh = 1;
    this.paused = false;
    this.unreachableSince = null;
    this.problem = "";
    this.updatedAt = null;
    this.drawSeconds = 0; // duration of the last redraw: a slow page polls less often and stays usable
    this.generation = 0; // answers to older requests are dropped
    this.onVisible = () => this.wake();
    document.addEventListener("visibilitychange", this.onVisible);
  }

  /** Set the runs and measures to read; known data of them are kept. */
  want(ids, experiments, fields) {
    const same = (a, b) => a.length === b.length && a.every((value) => b.includes(value));
    const changed = !same(ids, this.ids) || !same(experiments, this.experiments);
    if (!same(fields, this.fields)) this.cursors.clear(); // read all lines again; the old ones stay until then
    if (fields.includes("samples") && !this.fields.includes("samples")) this.blocks.clear();
    if (changed || !same(fields, this.fields)) {
      [this.ids, this.experiments, this.fields] = [ids, experiments, fields];
      this.generation += 1;
      for (const id of this.series.keys()) if (!ids.includes(id)) this.forget(id);
      this.wake();
    }
  }

  /** Set the length of the longest run when the page was drawn, which determines the first bucket. */
  expect(updates) {
    this.expected = updates;
  }

  /** Set the runs whose blocks to read. */
  wantBlocks(ids) {
    const more = ids.some((id) => !this.blockIds.includes(id));
    this.blockIds = ids;
    if (more) this.wake();
  }

  /** Set the visible range of the x axis, and read finer data of it if there are any. */
  zoomTo(view, zoom) {
    if (JSON.stringify([this.view?.x, this.view?.logX, this.zoom]) === JSON.stringify([view.x, view.logX, zoom ?? null])) return;
    [this.view, this.zoom] = [{ x: view.x, logX: view.logX }, zoom ?? null];
    this.readDetail().then(() => this.stopped || this.changed(), () => {}); // the next poll reports a failure
  }

  /** The data to draw: the finer series of the zoomed range if they have arrived, else all. */
  get shown() {
    return withDetail(this, this.detail, this.view ?? {}, this.zoom);
  }

  forget(id) {
    this.series.delete(id);
    this.blocks.delete(id);
    this.cursors.delete(id);
    this.runs.delete(id);
  }

  /** Poll now, and then every `refresh` seconds. */
  wake() {
    clearTimeout(this.timer);
    if (!document.hidden && !this.stopped) this.tick();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.abort?.abort();
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  get ended() {
    return this.ids.length > 0 && this.ids.every((id) => this.isEnded(id));
  }

  isEnded(id) {
    const [cursor, run] = [this.cursors.get(id), this.runs.get(id)];
    return Boolean(run?.final && cursor?.status === run.status && cursor.after >= cursor.last);
  }

  async tick() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    this.again = false;
    const started = performance.now();
    try {
      await this.read();
      this.unreachableSince = null;
      this.problem = "";
      this.updatedAt = new Date();
    } catch (error) {
      if (error instanceof Unreachable) this.unreachableSince ??= new Date();
      else this.problem = error.message;
    }
    this.busy = false;
    if (this.stopped) return;
    this.changed();
    this.schedule((performance.now() - started) / 1000);
  }

  schedule(spent) {
    clearTimeout(this.timer);
    if (this.again) this.timer = setTimeout(() => this.wake(), 0);
    else if (this.unreachableSince) this.timer = setTimeout(() => this.wake(), RETRY_SECONDS * 1000);
    else if (this.refresh && !this.paused && !this.ended) {
      this.timer = setTimeout(() => this.wake(), Math.max(0.05, this.refresh - spent, 2 * this.drawSeconds) * 1000);
    }
  }

  async read() {
    this.abort = new AbortController();
    const late = setTimeout(() => this.abort.abort(TIMEOUT), 8000);
    try {
      if (this.cursors.size) await Promise.all([this.readRuns(), this.readSeries(this.bucket)]);
      else await this.begin();
      const wanted = bucketFor(Math.max(1, ...[...this.cursors.values()].map((cursor) => cursor.after)));
      if (this.cursors.size && wanted !== this.bucket) {
        this.cursors.clear();
        this.bucket = wanted;
        await this.readSeries(wanted);
      }
      await this.readBlocks();
      await this.readDetail();
    } finally {
      clearTimeout(late);
    }
  }

  /** Read runs and series at once: the approximate length of the runs, and so the bucket, is already known. */
  async begin() {
    const known = this.ids.map((id) => this.runs.get(id)?.summary.updates ?? 0);
    this.bucket = bucketFor(Math.max(1, this.expected, ...known));
    await Promise.all([this.readRuns(), this.readSeries(this.bucket)]);
  }

  async readRuns() {
    const asks = this.experiments.map((id) => get(`/api/v1/runs?experiment=${id}&limit=200`, this.abort.signal));
    for (const { runs } of await Promise.all(asks)) for (const run of runs) this.runs.set(run.id, run);
  }

  async readSeries(bucket) {
    const ids = this.ids.filter((id) => !this.isEnded(id));
    const asks = [];
    for (let i = 0; i < ids.length; i += CHUNK) asks.push(this.readChunk(ids.slice(i, i + CHUNK), bucket));
    await Promise.all(asks);
  }

  async readBlocks() {
    const after = (id) => this.blocks.get(id)?.update.at(-1) ?? 0;
    const ids = this.blockIds.filter((id) => after(id) < (this.cursors.get(id)?.after ?? 0));
    if (!ids.length) return;
    const query = new URLSearchParams({
      runs: ids.join(","), after: ids.map(after).join(","), bucket: 1, blocks: 1, fields: this.axes.join(","),
    });
    const { runs } = await get(`/api/v1/series?${query}`, this.abort.signal);
    for (const id of ids) {
      const { blocks = [], ...columns } = runs[id];
      blocks.forEach((block, i) => {
        for (const [name, column] of Object.entries(block)) columns[`block${i}_${name}`] = column;
      });
      const joined = join(this.blocks.get(id), columns, 1);
      if (joined) this.blocks.set(id, joined);
    }
  }

  async readDetail() {
    const asked = this.view && detailQuery(this, this.view, this.zoom);
    if (!asked) this.detail = null;
    if (!asked || asked.key === this.detail?.key) return;
    const series = new Map();
    const ids = [...asked.windows.keys()];
    for (let i = 0; i < ids.length; i += CHUNK) {
      const part = ids.slice(i, i + CHUNK);
      const until = part.map((id) => asked.windows.get(id)[1]).join(",");
      const after = part.map((id) => asked.windows.get(id)[0]);
      const { runs } = await get(`/api/v1/series?${this.query(part, after, asked.bucket)}&until=${until}`);
      for (const id of part) if (runs[id]?.row_generation === this.cursors.get(id)?.rowGeneration) series.set(id, join(undefined, runs[id], asked.bucket));
    }
    if (asked.key === detailQuery(this, this.view, this.zoom)?.key) this.detail = { ...asked, series };
  }

  /** The axes to read: the costs of a target and the x axis. */
  get axes() {
    const columns = costAxes().filter((name) => name !== "update");
    return this.fields.includes("samples") ? [...columns, "samples"] : columns;
  }

  query(ids, after, bucket) {
    const fields = [...new Set([...this.fields, ...this.axes, "diverged"])].join(",");
    return new URLSearchParams({ runs: ids.join(","), after: after.join(","), bucket, fields });
  }

  async readChunk(ids, bucket) {
    const query = this.query(ids, ids.map((id) => this.cursors.get(id)?.after ?? 0), bucket);
    const { generation } = this;
    const { runs } = await get(`/api/v1/series?${query}`, this.abort.signal);
    if (generation !== this.generation) return;
    const restarted = ids.filter((id) => runs[id] && (this.cursors.get(id)?.rowGeneration ?? runs[id].row_generation) !== runs[id].row_generation);
    for (const id of ids) if (runs[id] && !restarted.includes(id)) this.accept(id, runs[id], bucket);
    if (restarted.length) {
      // another worker restarted these runs: the known rows no longer exist
      for (const id of restarted) this.forgetRows(id);
      await this.readChunk(restarted, bucket);
    }
  }

  forgetRows(id) {
    this.series.delete(id);
    this.blocks.delete(id);
    this.cursors.delete(id);
  }

  accept(id, got, bucket) {
    const held = this.cursors.has(id) ? this.series.get(id) : undefined;
    const joined = join(held, got, bucket);
    if (joined) this.series.set(id, joined);
    else this.series.delete(id);
    const after = joined?.update.at(-1) ?? 0;
    this.cursors.set(id, { rowGeneration: got.row_generation, after, status: got.status, last: got.last_update });
  }
}
