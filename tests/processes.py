"""Real backend, worker and dashboard processes for tests and benchmarks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import psutil

from backend.settings import Settings
from tests.clients import BothClient

DEADLINE = 200
STOP_SECONDS = 60
LOG_CHARACTERS = 3000
SHORT_LEASE = {"LEASE_SECONDS": 5, "HEARTBEAT_SECONDS": 0.2}
"""For tests that wait until a lease has expired. A busy machine delays a heartbeat by far less than 5 s."""
NICE = ["nice", "-n", "5"] if "PYTEST_VERSION" in os.environ else []
"""In tests training yields to processes and browsers, which others wait for; benchmarks time it."""
LONG_LEASE = 300  # the default: it does not expire during a test, however busy the machine is


def free_port() -> int:
    """Find a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def training_process(worker: int) -> int | None:
    """Find the process of a worker that trains a run: it has an outbox open, the spare process has none."""
    for process in psutil.Process(worker).children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            if any("spool" in file.path for file in process.open_files()):
                return process.pid
    return None


def wait_until(condition: Callable[[], object], what: str = "", *, seconds: float = DEADLINE) -> None:
    """Wait until a condition holds.

    Args:
        condition: what is asked every 50 ms.
        what: what is waited for, for the error.
        seconds: after how many it fails. A quiet machine needs far fewer.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


class Processes:
    """Processes that share one home: a backend, and workers and a dashboard as they are started.

    Args:
        home: the folder that BLOCKHF_HOME names; each process writes its output to a file there.
        names: which to start at once; the backend alone by default.
        settings: environment variables without their prefix BLOCKHF_.
    """

    def __init__(self, home: Path, *names: str, **settings: object) -> None:
        ports = {"PORT": free_port(), "DASHBOARD_PORT": free_port()}
        self.home = home
        self.backend_url, self.dashboard_url = (f"http://127.0.0.1:{port}" for port in ports.values())
        self.client = BothClient(self.backend_url)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._settings: dict[str, object] = {"HOME": home, "BACKEND_URL": self.backend_url, "LEASE_SECONDS": LONG_LEASE}
        self._settings |= ports | settings
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        home.mkdir(exist_ok=True)
        try:
            for name in names or ("backend",):
                self.start(name)
            for name in names or ("backend",):
                self.wait_until(partial(self._answers, name), f"the {name} answers")
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, **changes: object) -> subprocess.Popen[bytes]:
        """Start `python -m backend`, `worker` or `dashboard`, with settings of its own where `changes` has some."""
        settings = {f"BLOCKHF_{key}": str(value) for key, value in (self._settings | changes).items()}
        command = [*(NICE if name == "worker" else []), sys.executable, "-m", name]
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)
        self._started.append((name, process))
        self.running[name] = process
        return process

    def settings(self) -> Settings:
        """Return the settings that the processes have."""
        return Settings.model_validate({name.lower(): value for name, value in self._settings.items()})

    def log(self, name: str) -> str:
        """Return what the processes of this name have written."""
        return (self.home / f"{name}.log").read_text(errors="replace")

    def restart_backend(self, *, after: float) -> None:
        """Kill the backend, and start it again after some seconds."""
        self.kill("backend")
        time.sleep(after)
        self.start("backend")
        self.wait_until(lambda: self._answers("backend"), "the backend answers again")

    def wait_until(self, condition: Callable[[], object], what: str = "", *, seconds: float = DEADLINE) -> None:
        """Wait until a condition holds; fail with the end of each process's output."""
        try:
            wait_until(condition, what, seconds=seconds)
        except AssertionError as error:
            error.add_note("\n".join(f"{name}: {self.log(name)[-LOG_CHARACTERS:]}" for name in self.running))
            raise

    def _answers(self, name: str) -> bool:
        """Ask whether a process is ready; one that has ended fails the test."""
        code = self.running[name].poll()
        assert code is None, f"the {name} ended with exit code {code}"
        if name == "backend":
            return self.client.health()
        if name == "worker":
            return bool(self.client.catalog().catalog)
        try:
            return httpx.get(f"{self.dashboard_url}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def terminate(self, name: str) -> None:
        """End a process by SIGTERM, as an operator does; by SIGKILL where that takes too long."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self, name: str) -> None:
        """End a process by SIGKILL."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def reset(self) -> None:
        """Kill the workers, and remove every comparison and file of a run, as before the first test."""
        self._kill([process for name, process in self._started if name == "worker"])
        for experiment in self.client.experiments():
            self.client.delete(experiment.id)  # this cancels its runs
        for folder in ("checkpoints", "spool"):
            shutil.rmtree(self.home / folder, ignore_errors=True)

    def stop(self) -> None:
        """Kill every process that still runs, the last one started first."""
        self.client.close()
        self._kill([process for _, process in self._started])

    def _kill(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in reversed(processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
