// The answer above the charts, and the banner of failed runs.

import { element } from "../dom.js";
import { answer } from "../store/answer.js";
import { costsToShow } from "../store/time_to_target.js";

const MOST_FAILURES = 2; // that are named

/** One line: what reaching the target cost each configuration; `shown` is what the target panel computed, or null. */
export function drawStrip(node, shown) {
  const found = shown && costsToShow(shown.rows).length && shown.rows.length ? answer(shown.rows, shown.baseline, shown) : null;
  node.hidden = !found;
  if (!found) return;
  const parts = found.parts.flatMap(({ group, text }, i) => [
    i ? "; " : "", element("span", { "data-group": group.key }, element(i ? "span" : "b", {}, group.label), ` ${text}`),
  ]);
  const whole = [element("b", {}, `${found.head}: `), ...parts];
  const text = whole.map((part) => part.textContent ?? part).join("");
  if (node.textContent !== text) node.replaceChildren(...whole);
}

/** Say how many runs failed, and why; each has a link. */
export function drawFailures(node, groups, runs) {
  const all = groups.flatMap((group) => group.runs.map((info) => ({ info, run: runs.get(info.id) })));
  const failed = all.filter(({ run }) => run?.status === "failed");
  node.hidden = !failed.length;
  const signature = failed.map(({ info }) => info.id).join();
  if (node.dataset.signature === signature) return;
  node.dataset.signature = signature;
  const named = failed.slice(0, MOST_FAILURES).flatMap(({ info, run }) => [
    " ", element("a", { href: `/run?id=${info.id}` }, info.title), `: ${run.error?.message ?? "no reason was reported"}`,
  ]);
  const more = failed.length > MOST_FAILURES ? ` And ${failed.length - MOST_FAILURES} more; the table has all of them.` : "";
  node.replaceChildren(element("b", {}, `${failed.length} of ${all.length} ${all.length === 1 ? "run" : "runs"} failed.`), ...named, more);
}
