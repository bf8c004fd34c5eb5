"""How long it takes until a lost run is taken over, and until a cancelled run has ended, willing or not."""

import os
import signal
import time
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.runs import Run, RunStatus
from tests.benchmarks.storm import OPTIMIZERS, configuration
from tests.clients import BothClient
from tests.processes import Processes, training_process

LEASE_SECONDS = 4.0
HEARTBEAT_SECONDS = 0.5
COOPERATIVE_SECONDS = 2.0
FORCED_SECONDS = 12.0
_MANY = 100_000


def measure(home: Path, *, times: int, seed: int) -> dict[str, Any]:
    """Measure each so often; return median and longest beside what is promised, in seconds."""
    processes = Processes(home, LEASE_SECONDS=LEASE_SECONDS, HEARTBEAT_SECONDS=HEARTBEAT_SECONDS)
    chance = Random(seed)
    try:
        for _ in range(2):
            processes.start("worker")
        processes.wait_until(lambda: len(processes.client.catalog().workers) == 2)
        found = {
            "take_over": [_take_over(processes, chance) for _ in range(times)],
            "cancel": [_cancel(processes, forced=False) for _ in range(times)],
            "forced_cancel": [_cancel(processes, forced=True) for _ in range(times)],
        }
    finally:
        processes.stop()
    limits = {"take_over": 1.5 * LEASE_SECONDS, "cancel": COOPERATIVE_SECONDS, "forced_cancel": FORCED_SECONDS}
    answer: dict[str, Any] = {"lease_seconds": LEASE_SECONDS}
    for name, seconds in found.items():
        answer[name] = {"median": round(median(seconds), 2), "max": round(max(seconds), 2), "limit": limits[name]}
    return answer


def check(found: dict[str, Any]) -> list[str]:
    """Say what took longer than is promised."""
    measured = {name: figures for name, figures in found.items() if isinstance(figures, dict)}
    return [
        f"{name} took {figures['max']} s of {figures['limit']}"
        for name, figures in measured.items()
        if figures["max"] >= figures["limit"]
    ]


def _take_over(processes: Processes, chance: Random) -> float:
    """Kill the worker of a run; return the seconds until another one has it."""
    client = processes.client
    run = _training(client, processes)
    time.sleep(chance.uniform(0, HEARTBEAT_SECONDS))
    pid = holder(client, run)
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    processes.wait_until(lambda: client.run(run.id).claims > run.claims)
    seconds = time.monotonic() - began
    processes.start("worker")
    client.cancel(run.id)
    processes.wait_until(lambda: client.run(run.id).status.final)
    processes.wait_until(lambda: len([one for one in client.catalog().workers if one.alive]) >= 2)
    return seconds


def _cancel(processes: Processes, *, forced: bool) -> float:
    """Cancel a run; return the seconds until it has ended. Forced: its process does not hear anything."""
    client = processes.client
    run = _training(client, processes)
    if forced:
        child = training_process(holder(client, run))
        assert child is not None
        os.kill(child, signal.SIGSTOP)
    began = time.monotonic()
    client.cancel(run.id)
    processes.wait_until(lambda: client.run(run.id).status is RunStatus.CANCELLED)
    return time.monotonic() - began


def launch(client: BothClient, optimizer: Optimizer) -> Run:
    """Queue a run that goes on until it is cancelled."""
    config = configuration(optimizer, _MANY)
    document = config.model_dump(exclude={"optimizer", "seed"})
    spec = ExperimentSpec.model_validate(document | {"optimizers": [config.optimizer], "seeds": [0]})
    (run,) = client.launch(spec).runs
    return run


def holder(client: BothClient, run: Run) -> int:
    """Find the worker process that has a run, or had it last."""
    (name,) = [worker.info.name for worker in client.catalog().workers if worker.id == run.worker_id]
    return int(name.rpartition(":")[2])


def _training(client: BothClient, processes: Processes) -> Run:
    """Launch a long run and wait until it trains."""
    run = launch(client, OPTIMIZERS[0])
    processes.wait_until(lambda: client.run(run.id).summary.updates >= 3)
    return client.run(run.id)
