"""A comparison launched, read, measured and paused without a mouse."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import draws, ranges, settled
from tests.e2e.samples import claims, register, row
from tests.processes import DEADLINE, Processes, wait_until

pytestmark = pytest.mark.browser

MOST = 250  # presses of Tab to anything on a page
FOCUSED = """(node) => {
  const at = document.activeElement;
  if (at !== node && !node.contains(at)) return null;
  for (let one = at; one && one !== document.body; one = one.parentElement) {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
    if ((outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none") return true;
  }
  return false;
}"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Backend and dashboard with nothing launched yet."""
    with Processes(tmp_path_factory.mktemp("keys"), "backend", "dashboard") as running:
        yield running


def go(page: Page, goal: Locator) -> None:
    """Press Tab until the goal has the focus, which then shows."""
    goal.wait_for()
    settled(page)
    for _ in range(MOST):
        page.keyboard.press("Tab")
        visible = goal.evaluate(FOCUSED)
        if visible is not None:
            assert visible, "the focus cannot be seen"
            return
    pytest.fail(f"not within {MOST} presses of Tab: {goal}")


def test_a_comparison_is_made_and_read_by_keyboard(page: Page, empty: Processes) -> None:
    """Launch, another measure, zoom, a target and a pause: everything is reached by Tab, in the page's order."""
    worker = register(empty.client)
    page.goto(empty.dashboard_url)
    go(page, page.get_by_role("button", name="Launch a comparison"))
    page.keyboard.press("Enter")
    go(page, page.get_by_role("button", name=re.compile(r"^Launch \d+ runs?")))
    page.keyboard.press("Enter")
    expect(page.locator(".bhf-live")).to_be_visible(timeout=1000 * DEADLINE)
    for run, token in claims(empty.client, worker):
        empty.client.append(run, token, [row(update) for update in range(1, 41)])
    wait_until(lambda: draws(page) > 0 and page.locator(".bhf-chart .trace").count() > 0, "the chart is drawn")

    metrics = page.locator(".bhf-toolbar").get_by_role("button", name="Metrics", exact=True)
    go(page, metrics)
    page.keyboard.press("Enter")
    measure = page.get_by_role("group", name="Panels").get_by_role("button", name="Step norm", exact=True)
    go(page, measure)
    page.keyboard.press("Enter")
    expect(measure).to_have_attribute("aria-pressed", "true")
    page.wait_for_url(re.compile("step_norm"))
    page.keyboard.press("Escape")
    expect(metrics).to_be_focused()

    pause = page.get_by_role("button", name="Freeze display", exact=True)
    go(page, pause)
    page.keyboard.press("Space")
    expect(page.locator(".bhf-note").first).to_contain_text("Display frozen.")

    whole = ranges(page)
    go(page, page.get_by_role("application"))
    page.keyboard.press("+")
    page.wait_for_url(re.compile("zoom=x"))
    wait_until(lambda: ranges(page)[0] != whole[0], "the key zooms")
    page.keyboard.press("0")
    wait_until(lambda: ranges(page)[0] == whole[0], "the key shows all")

    target = page.get_by_role("spinbutton", name="Target")
    go(page, target)
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("50")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("target=50"))
    expect(page.locator(".bhf-targets tbody tr").first).to_contain_text("reached")
