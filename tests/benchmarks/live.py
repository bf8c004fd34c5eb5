"""How fast the compare page is, from a new row at the API to the browser's picture of it.

python -m tests.benchmarks.live [--rest] [--minutes N] [RUNSxUPDATES ...]

12 runs x 5,000 updates that grow by 5 updates a second, at a refresh of 0.5 s; then 30 runs, and 100 runs of 10,000.
With --rest: instead, what each page's tab takes of the dashboard's process while nothing happens. With --minutes: what
a compare page that refreshes all the time holds in the browser, after a garbage collection: memory, the nodes of the
page, and those that are in no page any more. Its axes are zoomed to a fixed part: a growing axis gets and loses ticks.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import Budget
from tests.clients import BothClient
from tests.e2e.conftest import CHROMIUM, QUIET, draws, settled
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import DEADLINE, Processes
from worker.problems.registry import discover

SECONDS = 20
IDLE_SECONDS = 20
STILL = "x:0:20000,train_loss:0.9:2.1,test_loss:0.9:2.1,test_accuracy:0:1"
BELOW = ("children", "shadowRoots", "pseudoElements")
PER_SECOND = 5
RECORD = """() => {
  window.drawnAt = {};
  window.redraws = [];
  const live = document.querySelector(".bhf-live");
  new MutationObserver(() => {
    window.drawnAt[live.dataset.drawn] ??= Date.now() / 1000;
    window.redraws.push(Number(live.dataset.redrawMs));
  }).observe(live, { attributeFilter: ["data-draws"] });
}"""


def launch(client: BothClient, count: int) -> tuple[str, list[tuple[str, int]]]:
    """Launch a comparison of `count` runs and claim them all; return its id, and each run's id and token."""
    changes = {"seeds": list(range(count // 2)), "budget": Budget(updates=1_000_000), "name": f"{count} runs"}
    worker = register(client)
    experiment = client.launch(SPEC.model_copy(update=changes))
    return experiment.id, claims(client, worker)


def fill(client: BothClient, taken: Sequence[tuple[str, int]], updates: int) -> None:
    """Give every run its first rows."""
    for number, (run, token) in enumerate(taken):
        client.append(run, token, [row(update, 0.001 * (1 + number % 7)) for update in range(1, updates + 1)])


def grow(page: Page, client: BothClient, taken: Sequence[tuple[str, int]], start: int) -> list[float]:
    """Append to all runs for a while; return the seconds from each update's first row to its picture."""
    page.evaluate(RECORD)
    sent = {}
    for step in range(SECONDS * PER_SECOND):
        began = time.monotonic()
        update = start + 1 + step
        sent[update] = time.time()
        for number, (run, token) in enumerate(taken):
            client.append(run, token, [row(update, 0.001 * (1 + number % 7))])
        time.sleep(max(0.0, 1 / PER_SECOND - (time.monotonic() - began)))
    page.wait_for_timeout(1500)
    drawn = {int(update): at for update, at in page.evaluate("() => window.drawnAt").items()}
    return [
        min(at for other, at in drawn.items() if other >= update) - sent[update]
        for update in sent
        if update <= max(drawn)
    ]


def spread(values: Sequence[float]) -> str:
    """Write median, 95th percentile and maximum."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):.2f} / {ordered[int(0.95 * (len(ordered) - 1))]:.2f} / {ordered[-1]:.2f}"


def measure(page: Page, service: Processes, count: int, updates: int) -> None:
    """Measure one size and print it."""
    experiment, taken = launch(service.client, count)
    fill(service.client, taken, updates)
    dashboard = psutil.Process(service.running["dashboard"].pid)
    began = time.monotonic()
    page.goto(f"{service.dashboard_url}/?experiments={experiment}&refresh=0.5&seeds=each&panels=train_loss,test_loss")
    page.wait_for_function(
        f"() => Number(document.querySelector('.bhf-live')?.dataset.drawn ?? 0) >= {updates}", timeout=60_000
    )
    print(f"{count} runs x {updates:,} updates: open and drawn after {time.monotonic() - began:.1f} s")
    before = sum(dashboard.cpu_times()[:2])
    latencies = grow(page, service.client, taken, updates)
    share = (sum(dashboard.cpu_times()[:2]) - before) / (SECONDS + 1.5)
    redraws = page.evaluate("() => window.redraws")
    print(f"  from row to picture  p50 / p95 / max  {spread(latencies)} s")
    print(f"  redraw               p50 / p95 / max  {spread(redraws)} ms")
    print(f"  dashboard's process  {share:.1%} of a core, pass-through included")
    for run, token in taken:
        service.client.finish(run, token, "finished")


def share(process: psutil.Process, page: Page, seconds: float) -> float:
    """Return what a process takes of a core while the page waits."""
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    page.wait_for_timeout(1000 * seconds)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)


def wait_in_line(client: BothClient) -> None:
    """Queue a figure of the paper and a sweep of the study, so that their pages have runs to follow."""
    client.register(WorkerInfo(name="by hand", device="cpu", threads=1), discover().catalog())
    shipped = client.reproductions().reproductions
    for kind in ("paper", "study"):
        client.launch(next(one.spec for one in shipped if one.kind == kind))


def rest(page: Page, service: Processes) -> None:
    """Print what each page's open tab takes while nothing trains and runs wait."""
    experiment, taken = launch(service.client, 12)
    fill(service.client, taken, 100)
    wait_in_line(service.client)
    dashboard = psutil.Process(service.running["dashboard"].pid)
    print(f"dashboard's process without a tab: {share(dashboard, page, IDLE_SECONDS):.1%} of a core")
    for path in (f"?experiments={experiment}", "launch", "queue", "paper", "guide", f"run?id={taken[0][0]}"):
        page.goto(f"{service.dashboard_url}/{path}")
        settled(page)
        page.wait_for_timeout(5000)
        name = path.partition("?")[0] or "compare"
        print(f"  with {name:8} open       {share(dashboard, page, IDLE_SECONDS):.1%}", flush=True)
    for run, token in taken:
        service.client.finish(run, token, "finished")


def held(browser: CDPSession) -> tuple[int, int, int]:
    """Return what a tab holds after garbage collections: nodes of its page, nodes of none, bytes of its heap."""
    for _ in range(3):  # what finalizers let go of in one, the next collects
        browser.send("HeapProfiler.collectGarbage")
    metrics = {entry["name"]: entry["value"] for entry in browser.send("Performance.getMetrics")["metrics"]}
    browser.send("DOM.enable", {"includeWhitespace": "all"})
    attached = count(browser.send("DOM.getDocument", {"depth": -1, "pierce": True})["root"])
    browser.send("DOM.disable")
    return attached, int(metrics["Nodes"]) - attached, int(metrics["JSHeapUsedSize"])


def count(node: dict[str, Any]) -> int:
    """Count a node of the page and all below it, within controls, frames and pseudo-elements too."""
    below = [part for name in BELOW for part in node.get(name, [])]
    below += [node[name] for name in ("contentDocument", "templateContent") if name in node]
    return 1 + sum(map(count, below))


def endure(page: Page, service: Processes, minutes: float) -> None:
    """Refresh a compare page that grows, and print ten times what the browser holds."""
    experiment, taken = launch(service.client, 12)
    fill(service.client, taken, 5000)
    page.goto(f"{service.dashboard_url}/?experiments={experiment}&refresh=0.5&zoom={STILL}")
    page.wait_for_function("() => Number(document.querySelector('.bhf-live')?.dataset.drawn ?? 0) >= 5000")
    settled(page)
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")
    last, end = 5000, time.monotonic()
    for part in range(11):
        attached, detached, heap = held(browser)
        told = f"{attached:,} nodes, {detached:,} in no page, {heap / 2**20:.1f} MiB, {draws(page):,} draws"
        print(f"  after {part * minutes / 10:4.1f} min: {told}", flush=True)
        end += 6 * minutes
        while part < 10 and time.monotonic() < end:
            last += 1
            for number, (run, token) in enumerate(taken):
                service.client.append(run, token, [row(last, 0.001 * (1 + number % 7))])
            page.wait_for_timeout(1000 / PER_SECOND)


def opened(browser: Browser) -> Page:
    """Open a tab whose waits outlast a busy machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(1000 * DEADLINE)
    return page


def main() -> None:
    """Run all sizes, or those named as RUNSxUPDATES; with --rest or --minutes the other measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", metavar="RUNSxUPDATES")
    parser.add_argument("--rest", action="store_true", help="measure what open tabs take while nothing happens")
    parser.add_argument("--minutes", type=float, help="how long a compare page is to refresh")
    chosen = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in chosen.sizes] or [(12, 5000), (30, 5000), (100, 10_000)]
    with (
        tempfile.TemporaryDirectory() as home,
        Processes(Path(home), "backend", "dashboard") as service,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        if chosen.rest:
            rest(opened(browser), service)
        if chosen.minutes:
            endure(opened(browser), service, chosen.minutes)
        for count, updates in [] if chosen.minutes or chosen.rest else sizes:
            page = opened(browser)
            measure(page, service, count, updates)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
