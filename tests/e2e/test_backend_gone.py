"""The pages while the backend is away: they say so, keep what they show, and recover by themselves."""

import json
from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.schemas.optimizers import Adam
from backend.schemas.runs import Experiment
from tests.e2e.conftest import draws, fill, seen, settled
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import DEADLINE, Processes, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start a backend that the tests stop and start again, and a dashboard."""
    with Processes(tmp_path_factory.mktemp("gone"), "backend", "dashboard") as running:
        yield running


@pytest.fixture
def stack(started: Processes) -> Iterator[Processes]:
    """Give both, and remove afterwards what the test has launched."""
    yield started
    if "backend" not in started.running:
        started.start("backend")
    wait_until(started.client.health, "the backend is back")
    started.reset()


def hostile(service: Processes) -> Experiment:
    """Launch a comparison with a hostile name, and report updates of one run that end in a divergence."""
    worker = register(service.client)
    changes = {"name": "<img src=x onerror=alert(1)><b>bold</b>", "optimizers": [Adam(), Adam(learning_rate=0.1)]}
    experiment = service.client.launch(SPEC.model_copy(update=changes))
    (run, token), *_ = claims(service.client, worker)
    service.client.append(run, token, [row(update, diverged=update == 12) for update in range(1, 13)])
    return experiment


def test_survives_hostile_names_and_a_lost_backend(page: Page, stack: Processes) -> None:
    """Markup in a name stays text; a lost backend is said, what was shown stays, and the page recovers by itself."""
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    experiment = hostile(stack)
    page.goto(f"{stack.dashboard_url}/?experiments={experiment.id}&x=cost")
    expect(page.locator(".bhf-runs")).to_contain_text("Diverged at update 12")
    expect(page.get_by_text("<b>bold</b>").first).to_be_visible()
    wait_until(lambda: seen(page) == 12 and draws(page) > 0, "the rows are drawn")
    texts = json.loads(
        page.evaluate("() => JSON.stringify(document.querySelector('.bhf-chart').data.map(t => t.name))")
    )
    assert any("diverged at update 12" in text for text in texts if text)

    stack.terminate("backend")
    banner = page.locator(".bhf-banner")
    expect(banner).to_contain_text("unreachable")
    expect(page.locator(".bhf-runs")).to_contain_text("12 / 50")
    stack.start("backend")
    expect(banner).to_be_hidden()
    assert dialogs == []


def test_every_page_says_within_two_seconds_that_the_backend_has_gone(browser: Browser, stack: Processes) -> None:
    """By each page's own clock, from the last good answer to the words; it keeps what it shows, and recovers by itself.

    The watch looks every 1.5 s. A busy machine delays the page's timers: what a second timer of the page was late by
    is allowed on top.
    """
    register(stack.client)
    experiment = stack.client.launch(SPEC)
    paths = ["launch", "queue", "paper", "guide", f"?experiments={experiment.id}"]
    tabs = [browser.new_context().new_page() for _ in (*paths, "run")]
    for tab, path in zip(tabs, [*paths, f"run?id={experiment.runs[0].id}"], strict=True):
        tab.set_default_timeout(1000 * DEADLINE)
        tab.goto(f"{stack.dashboard_url}/{path}")
        tab.locator(".bhf-gone").wait_for(state="attached")
        settled(tab)
        tab.evaluate(WATCHED)
    for tab in tabs:
        wait_until(partial(tab.evaluate, "() => window.good > 0"), "the page has seen the backend")
    shown = [standing(tab) for tab in tabs]
    stack.terminate("backend")
    for tab, before in zip(tabs, shown, strict=True):
        expect(tab.locator(".bhf-gone")).to_contain_text("unreachable")
        told, good, held_up = tab.evaluate("() => [window.told, window.good, window.heldUp]")
        assert told - good < 2000 + held_up, tab.url
        assert stands(tab, before), tab.url
    stack.start("backend")
    for tab, before in zip(tabs, shown, strict=True):
        expect(tab.locator(".bhf-gone")).to_be_hidden()
        wait_until(partial(stands, tab, before), f"{tab.url} is as it was")
        tab.context.close()


def standing(page: Page) -> list[str]:
    """Return what stands on a page: its headings, and what can be pressed."""
    return [text for text in page.locator("h1, h2, h3, main button, .bhf-layer b").all_inner_texts() if text.strip()]


def stands(page: Page, before: list[str]) -> bool:
    """Tell whether a page shows what it did."""
    return standing(page) == before


WATCHED = """() => {
  window.good = window.told = window.heldUp = 0;
  const ask = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await ask(...asked);
    if (String(asked[0]).includes("/ready") && answer.ok) [window.good, window.heldUp] = [performance.now(), 0];
    return answer;
  };
  const banner = document.querySelector(".bhf-gone");
  new MutationObserver(() => { if (!banner.hidden) window.told ||= performance.now(); })
    .observe(banner, { attributes: true, childList: true });
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.heldUp += Math.max(0, now - last - 60);
    last = now;
  }, 50);
}"""


def test_the_launch_page_keeps_what_was_typed_while_the_backend_is_away(page: Page, stack: Processes) -> None:
    """The launch page says by itself that the backend has gone, keeps the form, and can launch when it is back."""
    register(stack.client)
    page.goto(f"{stack.dashboard_url}/launch")
    fill(page, "budget.updates", 7)
    stack.terminate("backend")
    banner = page.locator(".bhf-gone")
    expect(banner).to_contain_text("unreachable")
    fill(page, "seeds", "0, 1")
    expect(page.get_by_role("button", name="Launch", exact=True)).to_be_disabled()
    stack.start("backend")
    wait_until(stack.client.health, "the backend is back")
    register(stack.client)
    expect(banner).to_be_hidden()
    page.get_by_role("button", name="Launch 4 runs").click()
    expect(page.locator(".bhf-runs tbody tr")).to_have_count(4)
    assert {run.config.budget.updates for run in stack.client.experiments()[0].runs} == {7}
