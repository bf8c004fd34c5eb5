"""Real backend and worker processes for tests and benchmarks."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backend.client import Client
from backend.settings import Settings

START_SECONDS = 300


def free_port() -> int:
    """Find a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Processes:
    """A backend and workers as processes of their own; all of them share one home and one address."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.port = free_port()
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = {"HOME": home, "PORT": self.port, **settings}
        self._started: list[subprocess.Popen[bytes]] = []
        self.backend = self.start("backend")
        self.client = Client(self.url)
        try:
            self.wait_until(self._is_ready)
        except BaseException:
            self.stop()
            raise

    def start(self, package: str, **changes: object) -> subprocess.Popen[bytes]:
        """Start `python -m backend` or `python -m worker`, perhaps with settings of its own."""
        settings = {f"BLOCKHF_{name}": str(value) for name, value in (self._settings | changes).items()}
        process = subprocess.Popen([sys.executable, "-m", package], env=os.environ | settings)
        self._started.append(process)
        return process

    def settings(self) -> Settings:
        """Give the settings that the processes have."""
        return Settings.model_validate({name.lower(): value for name, value in self._settings.items()})

    def restart_backend(self, *, after: float) -> None:
        """Kill the backend, and start it again after some seconds."""
        self.backend.kill()
        self.backend.wait()
        time.sleep(after)
        self.backend = self.start("backend")
        self.wait_until(self._is_ready)

    def wait_until(self, condition: Callable[[], object], seconds: float = START_SECONDS) -> None:
        """Wait until something holds; fail after some seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        """Ask whether the backend is there; one that has ended at its start will never be."""
        assert self.backend.poll() is None, f"the backend ended at its start with exit code {self.backend.poll()}"
        return self.client.health()

    def stop(self) -> None:
        """End every process that still runs, workers first."""
        self.client.close()
        for process in reversed(self._started):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
