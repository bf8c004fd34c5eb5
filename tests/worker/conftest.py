"""Real backend processes, and plug-ins installed for the length of a test."""

import csv
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Experiment, Run
from tests.processes import SHORT_LEASE, Processes
from tests.worker.cases import PLUGINS, registry, small_run
from worker.agent.executor import Executor
from worker.agent.gate import Gate
from worker.agent.local_process import LocalProcessExecutor
from worker.agent.loop import Worker
from worker.problems.registry import PROBLEMS


def make_worker(
    processes: Processes,
    executor: Executor | None = None,
    stopped: threading.Event | None = None,
    gate: Gate | None = None,
    **settings: float,
) -> Worker:
    """Make a worker in this process that executes runs in child processes."""
    return Worker(
        processes.client,
        executor or LocalProcessExecutor(),
        info=WorkerInfo(name="test", device="cpu", threads=1),
        catalog=registry().catalog(),
        settings=processes.settings().model_copy(update=settings),
        stopped=stopped or threading.Event(),
        gate=gate,
    )


def launch(processes: Processes, optimizers: list[Optimizer], **changes: Any) -> Experiment:
    """Queue small runs once a worker has registered."""
    spec = small_run(Adam()).model_dump(exclude={"optimizer", "seed"}) | changes
    processes.wait_until(lambda: processes.client.catalog().catalog)
    return processes.client.launch(ExperimentSpec.model_validate(spec | {"optimizers": optimizers}))


def updates(processes: Processes, run: Run) -> list[int]:
    """Return a run's stored update numbers."""
    header, *lines = csv.reader(processes.client.export(run.id).splitlines())
    return [int(line[header.index("update")]) for line in lines]


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def shared_backend(tmp_path_factory: pytest.TempPathFactory, plugins: None) -> Iterator[Processes]:  # noqa: ARG001
    """Start a backend for a module; no lease expires."""
    with Processes(tmp_path_factory.mktemp("shared"), HEARTBEAT_SECONDS=0.2) as started:
        yield started


@pytest.fixture
def processes(shared_backend: Processes) -> Iterator[Processes]:
    """Give the module's backend; remove afterwards what the test has started and stored."""
    yield shared_backend
    shared_backend.reset()


@pytest.fixture
def own_processes(tmp_path: Path, plugins: None) -> Iterator[Processes]:  # noqa: ARG001
    """Start a backend that the test may kill; no lease expires."""
    with Processes(tmp_path / "home", HEARTBEAT_SECONDS=0.2) as started:
        yield started


@pytest.fixture
def short_leases(tmp_path: Path, plugins: None) -> Iterator[Processes]:  # noqa: ARG001
    """Start a backend for a test that waits for the end of a lease."""
    with Processes(tmp_path / "home", **SHORT_LEASE) as started:
        yield started


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the tests' plug-ins for child processes: a folder as pip leaves one, with the entry points."""
    package = tmp_path_factory.mktemp("plugins") / "blockhf_test_plugins-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: blockhf-test-plugins\nVersion: 1\n")
    points = [f"{name} = tests.worker.problems.plugin:{name.upper()}" for name in PLUGINS]
    (package / "entry_points.txt").write_text("\n".join([f"[{PROBLEMS}]", *points]))
    root = Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(root)]))
        patch.syspath_prepend(package.parent)  # children that are forked have this process's path
        yield
