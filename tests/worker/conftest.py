"""Real backend processes, and plug-ins installed for the length of a test."""

import csv
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.client import Client
from backend.schemas import Adam, Experiment, ExperimentSpec, Optimizer, Run, WorkerInfo
from tests.worker.cases import PLUGINS, registry, small_run
from worker.engines.engine import Engine
from worker.engines.local import LocalEngine
from worker.loop import Worker
from worker.problems.registry import PROBLEMS

START_SECONDS = 60


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
        self.wait_until(self.client.health)

    def start(self, package: str) -> subprocess.Popen[bytes]:
        """Start `python -m backend` or `python -m worker`."""
        settings = {f"BLOCKHF_{name}": str(value) for name, value in self._settings.items()}
        process = subprocess.Popen([sys.executable, "-m", package], env=os.environ | settings)
        self._started.append(process)
        return process

    def restart_backend(self, *, after: float) -> None:
        """Kill the backend, and start it again after some seconds."""
        self.backend.kill()
        self.backend.wait()
        time.sleep(after)
        self.backend = self.start("backend")
        self.wait_until(self.client.health)

    def wait_until(self, condition: Callable[[], object], seconds: float = START_SECONDS) -> None:
        """Wait until something holds; fail after some seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.05)

    def worker(self, engine: Engine | None = None, stopped: threading.Event | None = None) -> Worker:
        """Make a worker in this process, whose runs are child processes."""
        return Worker(
            self.client,
            engine or LocalEngine(),
            info=WorkerInfo(name="test", device="cpu", threads=1),
            catalog=registry().catalog(),
            api=self.url,
            folder=self.home / "data",
            stopped=stopped or threading.Event(),
        )

    def stop(self) -> None:
        """End every process that still runs, workers first."""
        self.client.close()
        for process in reversed(self._started):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


def launch(processes: Processes, optimizers: list[Optimizer], **changes: Any) -> Experiment:
    """Queue small runs, once a worker has announced what it can do."""
    spec = small_run(Adam()).model_dump(exclude={"optimizer", "seed"}) | changes
    processes.wait_until(lambda: processes.client.catalog().catalog)
    return processes.client.launch(ExperimentSpec.model_validate(spec | {"optimizers": optimizers}))


def updates(processes: Processes, run: Run) -> list[int]:
    """Read a run's update numbers from the store."""
    header, *lines = csv.reader(processes.client.export(run.id).splitlines())
    return [int(line[header.index("update")]) for line in lines]


def alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def processes(tmp_path: Path, plugins: None) -> Iterator[Processes]:  # noqa: ARG001 - children see the plug-ins
    """Start a backend with a short lease; end everything afterwards."""
    started = Processes(tmp_path, LEASE_SECONDS=3, HEARTBEAT_SECONDS=0.2)
    yield started
    started.stop()


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the tests' plug-ins for child processes: a folder as pip leaves one, with the entry points."""
    package = tmp_path / "plugins" / "blockhf_test_plugins-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: blockhf-test-plugins\nVersion: 1\n")
    points = [f"{name} = tests.worker.problems.plugin:{name.upper()}" for name in PLUGINS]
    (package / "entry_points.txt").write_text("\n".join([f"[{PROBLEMS}]", *points]))
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(root)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
