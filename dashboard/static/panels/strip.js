// The answer above the charts, and the banner of failed runs.

import { element } from "../dom.js";
import { answer } from "../store/answer.js";
import { MEASURES } from "../store/measures.js";
import { significant } from "../store/numbers.js";
import { endedAbove } from "../store/time_to_target.js";

/** One line: what reaching the target cost each configuration; `shown` is what the target panel computed, or null. */
export function drawStrip(node, shown) {
  const found = shown?.rows.length ? answer(shown.rows, shown.baseline, shown) : null;
  const parts = found?.parts.flatMap(({ group, text }, i) => [i ? "; " : "", ...configuration(group, text, !i)]);
  put(node, found ? [element("strong", {}, `${found.head}: `), ...parts] : []);
}

/** One line: the best of many configurations; unless it is `alone`, the leaderboard below the charts has the others. */
export function drawBest(node, rows, measure, alone) {
  const best = rows.find((row) => row.best);
  const { mean, low, high } = best?.value ?? {};
  const range = low === high ? "" : ` (${significant(low)}\u2013${significant(high)})`;
  const text = best && `${significant(mean)}${range}, ${best.finished} of ${best.n} ${best.group.unit} finished${alone ? "" : "; the ranking below has all"}`;
  put(node, best ? [element("strong", {}, `${MEASURES[measure].better === "higher" ? "Highest" : "Lowest"} ${MEASURES[measure].label.toLowerCase()} of ${rows.length}: `), ...configuration(best.group, text, true)] : []);
}

function configuration(group, text, first) {
  const apart = /[0-9]$/.test(group.label) ? ": " : " "; // so that two numbers are not read as one
  return [element("span", { "data-group": group.key }, element(first ? "strong" : "span", {}, group.label), `${apart}${text}`)];
}

function put(node, parts) {
  node.hidden = !parts.length;
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (node.textContent !== text) node.replaceChildren(...parts);
}

/** Say how many runs failed, and why, with a link; and which finished runs ended above their start. */
export function drawFailures(node, groups, { runs, series }) {
  const all = groups.flatMap((group) => group.runs.map((info) => ({ info, run: runs.get(info.id) })));
  const failed = all.filter(({ run }) => run?.status === "failed");
  const above = all.filter(({ info, run }) => endedAbove(run, series.get(info.id)));
  node.hidden = !failed.length && !above.length;
  const signature = [...failed, {}, ...above].map(({ info }) => info?.id).join();
  if (node.dataset.signature === signature) return;
  node.dataset.signature = signature;
  node.replaceChildren(...(failed.length ? why(failed, all.length) : []), ...(above.length ? [
    element("strong", {}, ` ${counted(above.length, all.length)} ended above where ${above.length === 1 ? "it" : "they"} started: `),
    `${above[0].info.title}${above.length > 1 ? ` and ${above.length - 1} more` : ""}.`,
  ] : []));
}

const counted = (count, all) => `${count} of ${all} ${all === 1 ? "run" : "runs"}`;

/** The most frequent reason of failed runs, with a link to the first one that has it. */
function why(failed, all) {
  const reasons = new Map();
  for (const one of failed) {
    const reason = one.run.error?.message ?? "no reason was reported";
    reasons.set(reason, [...(reasons.get(reason) ?? []), one]);
  }
  const [reason, those] = [...reasons].sort(([, a], [, b]) => b.length - a.length)[0];
  const rest = those.length > 1 ? ` and ${those.length - 1} more` : "";
  return [
    element("strong", {}, `${counted(failed.length, all)} failed: `), element("a", { href: `/run?id=${those[0].info.id}` }, those[0].info.title),
    `${rest}: ${reason}${/[.!?]$/.test(reason) ? "" : "."}`, reasons.size > 1 ? " The table has the other reasons." : "",
  ];
}
