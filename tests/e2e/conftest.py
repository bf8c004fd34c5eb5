"""The real processes that tests share, and a real browser."""

import shutil
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

from tests.processes import DEADLINE, Processes, wait_until

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, BROWSERS) if path), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def seen(page: Page) -> int:
    """Return the last update that the charts have got."""
    return int(page.locator(".bhf-live").get_attribute("data-updates") or 0)


def draws(page: Page) -> int:
    """Return how often the chart was drawn."""
    return int(page.locator(".bhf-live").get_attribute("data-draws") or 0)


def ranges(page: Page) -> list[list[float]]:
    """Return the ranges that the first panel's axes show."""
    script = (
        "() => { const l = document.querySelector('.bhf-chart')._fullLayout; return [l.xaxis.range, l.yaxis.range]; }"
    )
    found: list[list[float]] = page.evaluate(script)
    return found


def settled(page: Page) -> None:
    """Wait until the page's script has run to its end."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def menu(page: Page, name: str) -> Locator:
    """Open a menu of the bar above the charts, if it is not open; return its panel."""
    button = page.locator(".bhf-toolbar").get_by_role("button", name=name, exact=True)
    panel = page.get_by_role("group", name=name, exact=True)
    if not panel.is_visible():
        button.click()
    expect(panel).to_be_visible()
    return panel


def zoom(page: Page) -> None:
    """Drag a box in the first panel; again where the page's layout moved meanwhile."""
    whole = ranges(page)

    def zoomed() -> bool:
        settled(page)
        box = page.locator(".bhf-chart .nsewdrag").first.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.7 * box["height"], steps=8)
        page.mouse.up()
        with suppress(TooLate):
            page.wait_for_function("() => location.search.includes('zoom=')", timeout=5000)
        return ranges(page) != whole

    wait_until(zoomed, "the drag zooms")


def choose(page: Page, field: Locator, option: str) -> None:
    """Choose an option of a list of one or of many; open it again where the page's redrawing has closed it."""
    of_many = field.locator("xpath=ancestor::*[@data-testid='stMultiSelect']")

    def chosen() -> bool:
        settled(page)
        with suppress(TooLate):
            field.click(timeout=5000)
            page.get_by_role("option", name=option, exact=True).click(timeout=5000)
        return field.input_value() == option or any(option in text for text in of_many.all_text_contents())

    wait_until(chosen, f"{option} is chosen")


def entry(page: Page, key: str) -> Locator:
    """Find the input of a field of the launch form by its path."""
    return page.locator(f".st-key-launch0-{key.replace('.', '-')} input")


def fill(page: Page, key: str, value: object) -> None:
    """Type a value into a field of the launch form and leave it; open the advanced settings where it is one."""
    entry(page, key).wait_for(state="attached")
    if not entry(page, key).is_visible():
        page.get_by_text("Advanced", exact=True).click()
    entry(page, key).fill(str(value))
    page.keyboard.press("Tab")  # while the page is redrawn there may be two of the entry


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start backend, worker and dashboard for tests that leave them running."""
    home = tmp_path_factory.mktemp("service")
    with Processes(home, "backend", "dashboard", "worker", HEARTBEAT_SECONDS=0.2) as running:
        yield running


@pytest.fixture(scope="package")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start backend and dashboard without a worker, for tests that play it; each looks at its own runs alone."""
    with Processes(tmp_path_factory.mktemp("quiet"), "backend", "dashboard") as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start one browser for all tests here. It ends with them: its event loop would forbid any other one."""
    if CHROMIUM is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on PATH")
    expect.set_options(timeout=1000 * DEADLINE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a tab; an error of any script in it fails the test."""
    errors: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 1400})
    tab.set_default_timeout(1000 * DEADLINE)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    tab.close()
    assert errors == []
