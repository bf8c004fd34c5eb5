"""How fast the compare page is, from a new row at the API to the browser's picture of it.

python -m tests.benchmarks.live [RUNSxUPDATES ...]

12 runs x 5,000 updates that grow by 5 updates a second, at a refresh of 0.5 s; then 30 runs, and 100 runs of 10,000.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from backend.client import Client
from backend.schemas import Budget
from tests.e2e.conftest import CHROMIUM, QUIET, Service, running_service
from tests.e2e.samples import SPEC, claims, register, row

SECONDS = 20
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


def launch(client: Client, count: int) -> tuple[str, list[tuple[str, int]]]:
    """Launch a comparison of `count` runs and claim them all; return its id, and each run's id and token."""
    changes = {"seeds": list(range(count // 2)), "budget": Budget(updates=1_000_000), "name": f"{count} runs"}
    worker = register(client)
    experiment = client.launch(SPEC.model_copy(update=changes))
    return experiment.id, claims(client, worker)


def fill(client: Client, taken: Sequence[tuple[str, int]], updates: int) -> None:
    """Give every run its first rows."""
    for number, (run, token) in enumerate(taken):
        client.append(run, token, [row(update, 0.001 * (1 + number % 7)) for update in range(1, updates + 1)])


def grow(page: Page, client: Client, taken: Sequence[tuple[str, int]], start: int) -> list[float]:
    """Append to all runs for a while; return the seconds from each append to the picture that holds it."""
    page.evaluate(RECORD)
    sent = {}
    for step in range(SECONDS * PER_SECOND):
        began = time.monotonic()
        update = start + 1 + step
        for number, (run, token) in enumerate(taken):
            client.append(run, token, [row(update, 0.001 * (1 + number % 7))])
        sent[update] = time.time()
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


def measure(page: Page, service: Service, count: int, updates: int) -> None:
    """Measure one size and print it."""
    experiment, taken = launch(service.client, count)
    fill(service.client, taken, updates)
    dashboard = psutil.Process(service.processes["dashboard"].pid)
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


def main() -> None:
    """Run all sizes, or those named as RUNSxUPDATES."""
    sizes = [tuple(map(int, size.split("x"))) for size in sys.argv[1:]] or [(12, 5000), (30, 5000), (100, 10_000)]
    with (
        tempfile.TemporaryDirectory() as home,
        running_service(Path(home), "backend", "dashboard") as service,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for count, updates in sizes:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            measure(page, service, count, updates)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
