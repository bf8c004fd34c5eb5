"""Every page held to the rules of axe-core, light and dark, wide and narrow: no serious violation."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from backend.schemas.runs import RunError
from tests.e2e.conftest import settled
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import DEADLINE, Processes

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python")
pytestmark = pytest.mark.browser

LOOKS: list[tuple[Literal["light", "dark"], list[int], int]] = [("light", [1280, 2560], 1), ("dark", [390], 2)]
"""Colour scheme; widths in px, the last ones by resizing alone; and of which pages: each one, or every second one."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start a backend without any comparison, and a dashboard."""
    with Processes(tmp_path_factory.mktemp("pages"), "backend", "dashboard") as running:
        yield running


@pytest.fixture(scope="module")
def pages(service: Processes) -> dict[str, str]:
    """Add a run of every state; return each page's path and what the page shows when drawn."""
    client, worker = service.client, register(service.client)
    first = client.launch(SPEC)
    (ended, token), (failed, other) = claims(client, worker)
    client.append(ended, token, [row(update) for update in range(1, 51)])
    client.finish(ended, token, "finished", ended_by="updates")
    client.append(failed, other, [row(update, diverged=update == 5) for update in range(1, 6)])
    client.finish(failed, other, "failed", error=RunError(message="out of memory", traceback="line 1"))
    waiting = client.launch(SPEC.model_copy(update={"seeds": [0, 1]})).runs
    client.pause(waiting[0].id)
    client.cancel(waiting[1].id)
    return {
        f"/?experiments={first.id},{waiting[0].experiment_id}": ".bhf-runs tbody tr",
        "/queue": ".bhf-layer",
        "/launch": ".bhf-plan",
        f"/paper?source={first.id}": ".bhf-state",
        "/guide": ".st-key-answer-damping",
        f"/run?id={failed}": ".bhf-state-failed",
        f"/run?id={ended}": ".bhf-chart .trace",
        "/paper": ".js-plotly-plot",
        "/run?id=nothere0": "h1",
    }


def look(page: Page) -> list[str]:
    """Return the serious violations of a page: the rule, and where it is broken."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{page.url}: {rule['id']} at {', '.join(str(node['target'][0]) for node in rule['nodes'][:6])}"
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ]


def wide(page: Page) -> list[str]:
    """Return the page's address where it must be scrolled sideways."""
    inside, window = page.get_by_test_id("stMain").evaluate("(main) => [main.scrollWidth, main.clientWidth]")
    return [f"{page.url}: {inside} px wide in a window of {window}"] * (inside > window)


def test_an_empty_compare_page_breaks_no_serious_rule(page: Page, service: Processes) -> None:
    """The page of a first visit has one sentence and one button, both as they should be."""
    page.goto(service.dashboard_url)
    expect(page.get_by_role("button", name="Launch a comparison")).to_be_visible()
    settled(page)
    assert look(page) == []


def errors(line: ConsoleMessage) -> list[str]:
    """Return an error of the console. Streamlit first looks for its server below a page's path, which fails."""
    missed = "/_stcore/" in line.location["url"]
    return [f"{line.location['url']}: {line.text}"] * (line.type == "error" and not missed)


@pytest.mark.parametrize(("mode", "widths", "every"), LOOKS)
def test_no_page_breaks_a_serious_rule(
    browser: Browser,
    service: Processes,
    pages: dict[str, str],
    mode: Literal["light", "dark"],
    widths: list[int],
    every: int,
) -> None:
    """Names, roles, labels, contrast and order hold on every page, none is wider than the window, no script fails."""
    context = browser.new_context(color_scheme=mode)
    page = context.new_page()
    page.set_default_timeout(1000 * DEADLINE)
    broken: list[str] = []
    page.on("console", lambda line: broken.extend(errors(line)))
    for path, drawn in list(pages.items())[::every]:
        page.set_viewport_size({"width": widths[0], "height": 1000})
        page.goto(service.dashboard_url + path)
        expect(page.locator(drawn).first).to_be_visible()
        settled(page)
        broken += look(page)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 1000})
            broken += wide(page)
    context.close()
    assert broken == []
