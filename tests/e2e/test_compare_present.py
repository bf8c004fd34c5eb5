"""The compare page in a lecture, on a phone, and for those who may only look."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Experiment
from tests.e2e.conftest import draws, menu, ranges
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import DEADLINE, Processes, free_port, wait_until

pytestmark = pytest.mark.browser

FILLS = """() => {
  const box = document.querySelector(".bhf-chart").getBoundingClientRect();
  const least = (selector, name) =>
    Math.min(...[...document.querySelectorAll(selector)].map((node) => parseFloat(getComputedStyle(node)[name])));
  const share = (box.width * box.height) / (innerWidth * innerHeight);
  return { share, text: least(".bhf-chart text", "fontSize"), line: least(".bhf-chart .js-line", "strokeWidth") };
}"""
"""the charts' share of the window, their smallest text and thinnest line [px]"""


@pytest.fixture
def training(quiet: Processes) -> Experiment:
    """Report some updates of three runs, which then wait."""
    worker = register(quiet.client)
    made = quiet.client.launch(SPEC.model_copy(update={"optimizers": [Adam(), HessianFree(), BlockHessianFree()]}))
    for run, token in claims(quiet.client, worker):
        quiet.client.append(run, token, [row(update) for update in range(1, 21)])
    return made


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """Open a tab on a phone."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab = context.new_page()
    tab.set_default_timeout(1000 * DEADLINE)
    yield tab
    context.close()


def drawn(page: Page, url: str) -> None:
    """Open a page and wait for its charts."""
    page.goto(url)
    wait_until(lambda: page.locator(".bhf-live").count() and draws(page) > 0, "the charts are drawn")


def touch(page: Page, *steps: list[tuple[float, float]]) -> None:
    """Move fingers over the screen: each step has the place of each finger."""
    session = page.context.new_cdp_session(page)
    kinds = ["touchStart", *["touchMove"] * (len(steps) - 1)]
    for kind, fingers in zip(kinds, steps, strict=True):
        points: list[dict[str, Any]] = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(fingers)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_lecture_fills_the_screen(page: Page, quiet: Processes, training: Experiment) -> None:
    """The button and the link show charts with large text; keys choose the axis, freeze, and leave."""
    page.set_viewport_size({"width": 1280, "height": 720})
    drawn(page, f"{quiet.dashboard_url}/?experiments={training.id}")
    page.get_by_role("button", name="Present").click()
    page.wait_for_url("**view=present**")
    wait_until(lambda: page.evaluate(FILLS)["share"] > 0.6, "the charts fill the screen")
    found = page.evaluate(FILLS)
    assert found["text"] >= 20
    assert found["line"] >= 4
    expect(page.get_by_role("heading", level=1)).to_have_text(training.name)
    expect(page.get_by_role("button", name="New")).not_to_be_visible()

    for key, x in (("2", "epoch"), ("6", "cpu_seconds"), ("1", "")):
        page.keyboard.press(key)
        page.wait_for_function("(x) => (new URLSearchParams(location.search).get('x') ?? '') === x", arg=x)
    still = page.get_by_role("button", name="Space")
    for pressed in ("true", "false"):
        page.keyboard.press("Space")
        expect(still).to_have_attribute("aria-pressed", pressed)
    page.get_by_role("button", name="Leave").click()
    page.wait_for_url(lambda url: "view=" not in url)
    expect(page.get_by_role("button", name="New")).to_be_visible()


def test_who_may_only_look_sees_no_verbs(page: Page, quiet: Processes, training: Experiment) -> None:
    """A dashboard that only reads has the curves, and neither New, Edit, Launch nor what changes runs."""
    port = free_port()
    first = quiet.running["dashboard"]
    second = quiet.start("dashboard", DASHBOARD_PORT=port, DASHBOARD_READ_ONLY=1)
    quiet.running["dashboard"] = first
    url = f"http://localhost:{port}"
    try:
        wait_until(lambda: answers(f"{url}/healthz"), "the second dashboard answers")
        drawn(page, f"{url}/?experiments={training.id}")
        expect(page.locator(".bhf-runs tbody tr")).to_have_count(3)
        for name in ("New", "Edit", "Pause training", "Cancel"):
            expect(page.get_by_role("button", name=name).filter(visible=True)).to_have_count(0)
        for name in ("Launch", "Clone"):
            expect(page.get_by_role("link", name=name).filter(visible=True)).to_have_count(0)
        link = menu(page, "Export").get_by_label("Link to this view")
        assert f"experiments={training.id}" in link.input_value()
        assert page.request.get(f"{url}/qr.svg?text={link.input_value()}").ok
    finally:
        second.kill()
        second.wait()


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_fingers_scroll_and_zoom(phone: Page, quiet: Processes, training: Experiment) -> None:
    """A vertical swipe that starts on a chart scrolls the page; two fingers zoom the x axis."""
    drawn(phone, f"{quiet.dashboard_url}/?experiments={training.id}")
    whole = ranges(phone)
    plot = phone.locator(".bhf-chart .nsewdrag").first.bounding_box()
    assert plot is not None
    x, y = plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2
    scrolled = "() => document.querySelector('[data-testid=stMain]').scrollTop"
    touch(phone, *[[(x, y - 20 * i)] for i in range(10)])
    wait_until(lambda: phone.evaluate(scrolled) > 60, "the page scrolls")
    assert ranges(phone) == whole

    def zoomed() -> bool:
        """Spread two fingers; the page may still move from the swipe, so that they miss the chart."""
        plot = phone.locator(".bhf-chart .nsewdrag").first.bounding_box()
        assert plot is not None
        y = plot["y"] + plot["height"] - 20
        touch(phone, *[[(x - 20 - 8 * i, y), (x + 20 + 8 * i, y)] for i in range(8)])
        phone.wait_for_timeout(500)
        return "zoom=x" in phone.url

    wait_until(zoomed, "two fingers zoom")
    wait_until(lambda: ranges(phone)[0] != whole[0], "the chart is drawn")
    low, high = ranges(phone)[0]
    assert whole[0][0] < low < high < whole[0][1]
