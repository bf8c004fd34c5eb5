"""The three real processes on free ports, over a temporary folder, and a real browser."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

from backend.client import Client
from tests.processes import free_port

Call = Callable[..., Any]

STOP_SECONDS = 60
LEASE_SECONDS = 10
DEADLINE = 120  # of every wait, in seconds: what is waited for comes within a few where the machine is not busy
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Service:
    """Backend, worker and dashboard of one test."""

    home: Path
    backend_url: str
    dashboard_url: str
    client: Client
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one of the processes: backend, worker or dashboard."""
        environment = os.environ | {
            "BLOCKHF_HOME": str(self.home),
            "BLOCKHF_PORT": self.backend_url.rsplit(":", 1)[1],
            "BLOCKHF_DASHBOARD_PORT": self.dashboard_url.rsplit(":", 1)[1],
            "BLOCKHF_BACKEND_URL": self.backend_url,
            "BLOCKHF_LEASE_SECONDS": str(LEASE_SECONDS),
            "BLOCKHF_HEARTBEAT_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
        }
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", name], cwd=self.home, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self, name: str) -> int:
        """End a process by its id, SIGTERM first; return its exit status."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def alive(self, name: str) -> bool:
        """Fail, with what it wrote, where a process has ended that should not have."""
        code = self.processes[name].poll()
        assert code is None, f"the {name} ended with exit code {code}: {self.log(name)}"
        return True

    def log(self, name: str) -> str:
        """Return what a process has written."""
        return (self.home / f"{name}.log").read_text(errors="replace")


@contextmanager
def running_service(home: Path, *names: str) -> Iterator[Service]:
    """Run the processes of these names (all three by default) until the block ends."""
    backend, dashboard = free_port(), free_port()
    urls = f"http://127.0.0.1:{backend}", f"http://127.0.0.1:{dashboard}"
    with Client(urls[0]) as client:
        service = Service(home, *urls, client)
        try:
            for name in names or ("backend", "dashboard", "worker"):
                service.start(name)
            _await_answers(service)
            yield service
        finally:
            for name in reversed(list(service.processes)):
                service.stop(name)


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = DEADLINE) -> None:
    """Wait until a condition holds; fail the test with what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def _await_answers(service: Service) -> None:
    if "backend" in service.processes:
        wait_until(lambda: service.alive("backend") and service.client.health(), "the backend is ready")
    if "dashboard" in service.processes:
        wait_until(
            lambda: service.alive("dashboard") and _answers(f"{service.dashboard_url}/healthz"), "the dashboard answers"
        )
    if "worker" in service.processes:
        wait_until(lambda: service.alive("worker") and service.client.catalog().catalog, "a worker has registered")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


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
    """Type a value into a field of the launch form and leave it."""
    entry(page, key).fill(str(value))
    entry(page, key).press("Tab")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Backend, worker and dashboard for tests that leave them running."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Backend and dashboard without a worker, for tests that play it; each looks at its own runs alone."""
    with running_service(tmp_path_factory.mktemp("quiet"), "backend", "dashboard") as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start one browser for all tests."""
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
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


@pytest.fixture
def call(page: Page, service: Service) -> Call:
    """Return a function that calls a function of one of the scripts with JSON arguments."""
    page.goto(f"{service.dashboard_url}/healthz")

    def run(script: str, function: str, *arguments: Any) -> Any:
        code = "async ([s, f, a]) => { const module = await import(`/assets/${s}.js`); return module[f](...a); }"
        return page.evaluate(code, [script, function, list(arguments)])

    return run
