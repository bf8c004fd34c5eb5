"""The queue page and a run's own, in a real browser: they follow runs and workers by themselves."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from backend.schemas.experiments import Budget, Problem
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunError
from tests.e2e.conftest import seen, settled
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import DEADLINE, Processes, wait_until

pytestmark = pytest.mark.browser

ENDLESS = SPEC.model_copy(
    update={
        "problem": Problem(options={"hidden_1": 16, "hidden_2": 8, "hidden_3": 8, "code": 3}),
        "optimizers": [Adam(gradient_batch=100)], "budget": Budget(updates=1_000_000), "name": "Endless",
    }
)  # fmt: skip


def test_a_run_moves_to_the_front(page: Page, tmp_path: Path) -> None:
    """The run becomes the first, the others keep their order, and the page keeps its style after the message."""
    with Processes(tmp_path, "backend", "dashboard") as service:
        register(service.client)
        service.client.launch(SPEC.model_copy(update={"optimizers": [Adam()], "seeds": [0, 1, 2, 3]}))
        page.goto(f"{service.dashboard_url}/queue")
        lines = page.locator(".bhf-layer b")
        expect(lines).to_have_count(4)
        page.get_by_role("button", name="Move").nth(3).click()
        page.get_by_text("To the front", exact=True).click()
        order = [f"{place}. Adam · seed {seed}" for place, seed in enumerate([3, 0, 1, 2], 1)]
        expect(lines).to_have_text(order)
        expect(page.get_by_test_id("stToast")).to_be_visible()
        looks = page.locator(".bhf-layer").first.evaluate("(line) => getComputedStyle(line).display")
        assert looks != "block"


def test_the_queue_follows_without_a_press(page: Page, tmp_path: Path) -> None:
    """Counts of updates grow in place; a run that waits, starts or ends is moved, with what can be asked of it."""
    with Processes(tmp_path, "backend", "dashboard") as service:
        worker = register(service.client)
        page.goto(f"{service.dashboard_url}/queue")
        expect(page.get_by_text("The queue is empty.")).to_be_visible()
        [run] = service.client.launch(SPEC.model_copy(update={"optimizers": [Adam()]})).runs
        expect(page.get_by_role("heading", name="Queued: 1")).to_be_visible()
        [(_, token)] = claims(service.client, worker)
        expect(page.get_by_role("heading", name="Running: 1")).to_be_visible()
        line = page.locator(".bhf-layer")
        expect(line).to_have_count(1)  # while the page is redrawn, the row of the queued run is there too
        expect(line).to_contain_text("0 of 50 updates")

        def says(shown: Locator, text: str) -> bool:
            service.client.heartbeat(run.id, token)  # when a worker falls silent, the page is drawn anew
            return text in shown.inner_text()

        workers = page.get_by_role("region", name="Workers")
        wait_until(lambda: says(workers, "training Adam · seed 0"), "the worker is heard of")
        page.evaluate("() => { document.querySelector('.bhf-layer').marked = true; }")
        service.client.append(run.id, token, [row(update) for update in range(1, 8)])
        wait_until(lambda: says(line, "7 of 50 updates"), "the count has grown")
        expect(workers).to_contain_text("5")
        assert page.evaluate("() => document.querySelector('.bhf-layer').marked")
        service.client.finish(run.id, token, "failed", error=RunError(message="out of memory"))
        expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_killed_worker_is_said_to_be_gone(page: Page, browser: Browser, tmp_path: Path) -> None:
    """Within its lease the page says that it is silent, then that it is gone; the next worker takes its run over."""
    with Processes(tmp_path, "backend", "dashboard", "worker", LEASE_SECONDS=15, HEARTBEAT_SECONDS=1) as service:
        [run] = service.client.launch(ENDLESS).runs
        page.goto(f"{service.dashboard_url}/queue")
        workers = page.get_by_role("region", name="Workers")
        expect(workers).to_contain_text("training Adam · seed 0")
        service.kill("worker")
        expect(workers).to_contain_text("not responding")
        assert service.client.catalog().workers[0].alive, "the lease has not ended"
        expect(workers).to_contain_text("offline")
        line = page.locator(".bhf-layer")
        expect(line.first).to_contain_text("worker lost")
        other = browser.new_page()
        other.set_default_timeout(1000 * DEADLINE)
        other.goto(f"{service.dashboard_url}/run?id={run.id}")
        expect(other.locator(".bhf-history")).to_contain_text("Worker lost")
        service.start("worker")
        expect(workers).to_contain_text("training Adam · seed 0")
        expect(line.filter(has_text="orker lost")).to_have_count(0)
        expect(other.locator(".bhf-history")).to_contain_text("(claim 2)")
        expect(other.locator(".bhf-history")).not_to_contain_text("orker lost")
        other.close()
        assert service.client.run(run.id).claims == 2


def test_the_run_page_follows_a_pause_and_a_resumption(page: Page, service: Processes) -> None:
    """The history of a run that really trains grows by itself: queued, started where, paused, waiting, gone on."""
    [run] = service.client.launch(ENDLESS).runs
    page.goto(f"{service.dashboard_url}/run?id={run.id}")
    history = page.locator(".bhf-history")
    expect(history).to_contain_text("Queued")
    expect(history).to_contain_text(re.compile(r"Started .* on worker .*, cpu"))
    page.evaluate("() => { window.notReloaded = true; }")
    press(page, "Pause training")
    expect(history).to_contain_text(re.compile(r"Paused after [\d,]+ of 1,000,000 updates"))
    expect(history).to_contain_text("resumes from the checkpoint after update")
    kept = service.client.run(run.id).checkpoint
    assert kept is not None
    expect(page.locator(".bhf-state")).to_have_text("Paused")
    press(page, "Resume")
    expect(history).to_contain_text("(claim 2)")
    expect(page.locator(".bhf-state")).to_have_text("Running")
    wait_until(lambda: seen(page) > kept.update, "the curves go on beyond the pause")
    press(page, "Cancel")
    expect(history).to_contain_text("Cancelled")
    assert page.evaluate("() => window.notReloaded")
    updates = service.client.series([run.id], fields=["cost"])[run.id]["update"]
    assert updates == list(range(1, len(updates) + 1))


def press(page: Page, name: str) -> None:
    """Click what can be asked of the run beside its state."""
    settled(page)
    page.get_by_role("main").get_by_role("button", name=name, exact=True).first.click()
