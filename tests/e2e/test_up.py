"""`blockhf up` as a user starts it: three processes, one URL, a first comparison, restart, a clean end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Page

from backend.client import Client
from backend.schemas.runs import RunStatus
from tests.e2e.conftest import settled
from tests.processes import DEADLINE, free_port, wait_until

PATHS = ("/", "/launch", "/queue", "/healthz", "/api/v1/experiments", "/plotly.min.js", "/assets/live.js")
HANDSHAKE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


class Up:
    """A running `blockhf up` with its output."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.port, self.dashboard_port = free_port(), free_port()
        self.log = home / "up.log"
        ours = {
            "BLOCKHF_HOME": str(home),
            "BLOCKHF_PORT": str(self.port),
            "BLOCKHF_DASHBOARD_PORT": str(self.dashboard_port),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli.main", "up"],
                env=os.environ | ours | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def words(self) -> str:
        """Return all it has printed so far."""
        return self.log.read_text()

    def children(self) -> dict[str, psutil.Process]:
        """Return the three processes by name; one that just ended or has not begun has none."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if words := child.cmdline():
                    found[words[-1]] = child
        return found

    def end(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Start the stack on free ports with an empty home."""
    running = Up(tmp_path)
    yield running
    if running.process.poll() is None:
        running.end()


def test_first_start_to_the_end(up: Up) -> None:
    """Curves grow after the first start; a killed worker comes back; Ctrl-C leaves no process behind."""
    wait_until(lambda: "BlockHF is ready" in up.words(), "all three answer", seconds=120)
    assert f"http://127.0.0.1:{up.dashboard_port}" in up.words()
    with Client(f"http://127.0.0.1:{up.port}") as client:
        runs = client.runs()
        assert sorted(run.config.optimizer.kind for run in runs) == ["adam", "bhf", "hf"]
        wait_until(lambda: any(run.summary.updates >= 2 for run in client.runs()), "curves grow")
        children = up.children()
        assert set(children) == {"backend", "worker", "dashboard"}
        children["worker"].kill()
        wait_until(
            lambda: up.children().get("worker", children["worker"]).pid != children["worker"].pid, "a new worker"
        )
        assert "worker exited" in up.words()
        assert all(run.status is not RunStatus.FAILED for run in client.runs())
    everyone = psutil.Process(up.process.pid).children(recursive=True)
    assert up.end() == 0
    _, alive = psutil.wait_procs(everyone, timeout=DEADLINE)
    assert alive == []


@pytest.mark.browser
@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_the_dashboard_has_an_address_of_its_own(page: Page, tmp_path: Path, host: str) -> None:
    """It is called by the address that it listens on, by no foreign name, and asks the backend without any proxy."""
    proxy = f"http://127.0.0.1:{free_port()}"
    up = Up(
        tmp_path, BLOCKHF_DASHBOARD_HOST=host, BLOCKHF_QUEUE_DEMO="0", HTTP_PROXY=proxy, http_proxy=proxy, no_proxy=""
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{up.dashboard_port}"
    try:
        wait_until(lambda: "BlockHF is ready" in up.words(), "all three answer")
        assert httpx.get(f"{url}/api/v1/experiments", trust_env=False).json() == {"experiments": []}
        for path in PATHS:
            foreign = httpx.get(f"{url}{path}", headers={"Host": "evil.example"}, trust_env=False)
            assert (foreign.status_code, foreign.text) == (400, "Invalid host header")
            framed = httpx.get(f"{url}{path}", headers={"Origin": "http://evil.example"}, trust_env=False)
            assert framed.status_code == 403
            ours = httpx.get(f"{url}{path}", trust_env=False)
            assert (ours.headers["x-frame-options"], ours.headers["x-content-type-options"]) == ("DENY", "nosniff")
        for origin, status in ((url, 101), ("http://evil.example", 403)):
            with httpx.stream(
                "GET", f"{url}/_stcore/stream", headers=HANDSHAKE | {"Origin": origin}, trust_env=False
            ) as answer:
                assert answer.status_code == status
        page.goto(url)
        page.get_by_role("link", name="Launch").first.wait_for()
        settled(page)
        page.goto("about:blank")  # before the scripts that it still fetches are gone
    finally:
        up.end()


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """Where the backend's port is taken, the command says so in one line and ends with 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "backend.cli.main", "up"],
            env=os.environ | {"BLOCKHF_HOME": str(tmp_path), "BLOCKHF_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in done.stderr
