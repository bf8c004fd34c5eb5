// The answer above the charts, and the banner of failed runs.

import { element } from "../dom.js";
import { answer } from "../store/answer.js";
import { MEASURES } from "../store/measures.js";
import { significant } from "../store/numbers.js";

const MOST_FAILURES = 1; // reasons, and runs of each, that are named

/** One line: what reaching the target cost each configuration; `shown` is what the target panel computed, or null. */
export function drawStrip(node, shown) {
  const found = shown?.rows.length ? answer(shown.rows, shown.baseline, shown) : null;
  const parts = found?.parts.flatMap(({ group, text }, i) => [i ? "; " : "", ...configuration(group, ` ${text}`, !i)]);
  put(node, found ? [element("strong", {}, `${found.head}: `), ...parts] : []);
}

/** One line: the best of many configurations; the leaderboard below the charts has the others. */
export function drawBest(node, rows, measure) {
  const best = rows.find((row) => row.best);
  const { mean, low, high } = best?.value ?? {};
  const range = low === high ? "" : ` (${significant(low)}\u2013${significant(high)})`;
  const text = best && ` ${significant(mean)}${range}, ${best.finished} of ${best.n} ${best.group.unit} finished; the ranking below has all`;
  put(node, best ? [element("strong", {}, `${MEASURES[measure].better === "higher" ? "Highest" : "Lowest"} ${MEASURES[measure].label.toLowerCase()} of ${rows.length}: `), ...configuration(best.group, text, true)] : []);
}

function configuration(group, text, first) {
  return [element("span", { "data-group": group.key }, element(first ? "strong" : "span", {}, group.label), text)];
}

function put(node, parts) {
  node.hidden = !parts.length;
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (node.textContent !== text) node.replaceChildren(...parts);
}

/** Say how many runs failed, and why; each has a link. */
export function drawFailures(node, groups, runs) {
  const all = groups.flatMap((group) => group.runs.map((info) => ({ info, run: runs.get(info.id) })));
  const failed = all.filter(({ run }) => run?.status === "failed");
  node.hidden = !failed.length;
  const signature = failed.map(({ info }) => info.id).join();
  if (node.dataset.signature === signature) return;
  node.dataset.signature = signature;
  const reasons = new Map();
  for (const one of failed) {
    const reason = one.run.error?.message ?? "no reason was reported";
    reasons.set(reason, [...(reasons.get(reason) ?? []), one]);
  }
  const named = [...reasons].slice(0, MOST_FAILURES).flatMap(([reason, those]) => [
    ` ${reason} (`, ...those.slice(0, MOST_FAILURES).flatMap(({ info }, i) => [i ? ", " : "", element("a", { href: `/run?id=${info.id}` }, info.title)]),
    those.length > MOST_FAILURES ? ` and ${those.length - MOST_FAILURES} more).` : ").",
  ]);
  const more = reasons.size > MOST_FAILURES ? " The table has the other reasons." : "";
  node.replaceChildren(element("strong", {}, `${failed.length} of ${all.length} ${all.length === 1 ? "run" : "runs"} failed:`), ...named, more);
}
