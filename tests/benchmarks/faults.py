"""Random faults against real runs: `python -m tests.benchmarks.faults --kills 100`.

Workers, training processes and the backend are killed (SIGKILL), and workers are stopped past their lease and woken
(SIGSTOP, SIGCONT), at random moments, while all three optimizers train a real autoencoder. At its end each run must
have every row exactly once, each figure but the seconds equal to that of an uninterrupted run, and the same final
weights by SHA-256.
"""

import argparse
import hashlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from backend.schemas import (
    Adam,
    BlockHessianFree,
    Budget,
    Evaluation,
    ExperimentSpec,
    HessianFree,
    Optimizer,
    Problem,
    Run,
    RunConfig,
    RunStatus,
    Update,
)
from tests.processes import Processes
from worker.checkpoints import State
from worker.problems.registry import discover
from worker.training import train

NARROW = {"hidden_1": 64, "hidden_2": 32, "hidden_3": 16, "code": 8}
OPTIMIZERS: list[Optimizer] = [
    BlockHessianFree(gradient_batch=300, curvature_batch=100, max_cg_iterations=10),
    Adam(gradient_batch=300),
    HessianFree(gradient_batch=300, curvature_batch=100, max_cg_iterations=10),
]
FAULTS = ["worker", "worker", "child", "backend", "zombie"]
LEASE_SECONDS = 2.0
SETTINGS = {"LEASE_SECONDS": LEASE_SECONDS, "HEARTBEAT_SECONDS": 0.2, "CHECKPOINT_SECONDS": 0.3, "MAX_ATTEMPTS": 10_000}


class Uninterrupted:
    """What a run gives when nothing happens to it."""

    def __init__(self, config: RunConfig) -> None:
        self.rows: list[Update] = []
        self.weights = ""
        train(config, self, lambda: False, registry=discover(), folder=Path("nowhere"), keeper=self)

    def start(self, **_: object) -> None:
        """Take no notice."""

    def update(self, row: Update) -> None:
        """Keep a row."""
        self.rows.append(row)

    def found(self) -> State | None:
        """Begin at the beginning."""
        return None

    def missing(self) -> str:
        """Miss nothing."""
        return ""

    def due(self) -> bool:
        """Keep nothing."""
        return False

    def paused(self) -> bool:
        """Go on."""
        return False

    def keep(self, state: State, update: int) -> None:
        """Keep nothing."""

    def end(self, weights: State) -> None:
        """Take the weights' SHA-256."""
        self.weights = hashlib.sha256(weights.to_bytes()).hexdigest()


class Storm:
    """Two workers at one backend, and faults that strike whichever has the run."""

    def __init__(self, processes: Processes, chance: random.Random) -> None:
        self.struck: Counter[str] = Counter()
        self._processes = processes
        self._client = processes.client
        self._chance = chance
        self._workers = {p.pid: p for p in (processes.start("worker") for _ in range(2))}
        self._asleep: list[tuple[float, list[int]]] = []
        processes.wait_until(lambda: self._client.catalog().catalog)

    def train(self, config: RunConfig, faults: Iterator[str]) -> Run:
        """Train a run to its end among faults."""
        document = config.model_dump(exclude={"optimizer", "seed"})
        spec = ExperimentSpec.model_validate(document | {"optimizers": [config.optimizer], "seeds": [config.seed]})
        (run,) = self._client.launch(spec).runs
        next_fault = time.monotonic()
        while True:
            run = self._client.run(run.id)
            if run.status is RunStatus.FINISHED:
                return run
            if run.status is RunStatus.FAILED:
                assert run.error is not None
                assert run.error.message.startswith("the training process was killed by SIGKILL"), run.error
                self._client.retry(run.id)
            elif run.status is RunStatus.RUNNING and time.monotonic() > next_fault:
                fault = next(faults, None)
                if fault is not None and self._strike(fault, run):
                    self.struck[fault] += 1
                next_fault = time.monotonic() + self._chance.uniform(0.2, 3)
            self._wake()
            time.sleep(0.05)

    def _strike(self, fault: str, run: Run) -> bool:
        if fault == "backend":
            self._processes.restart_backend(after=self._chance.uniform(0, 1))
            return True
        pid = self._holder(run)
        child = child_of(pid) if pid else None
        if pid is None or child is None:
            return False
        if fault == "child":
            os.kill(child, signal.SIGKILL)
        elif fault == "worker":
            process = self._workers.pop(pid)
            process.kill()
            process.wait()
            self._replace()
        else:
            for one in (pid, child):
                os.kill(one, signal.SIGSTOP)
            self._asleep.append((time.monotonic() + LEASE_SECONDS * self._chance.uniform(1, 2), [child, pid]))
        return True

    def _holder(self, run: Run) -> int | None:
        """Find the process that has the run, unless it sleeps."""
        names = [worker.info.name for worker in self._client.catalog().workers if worker.id == run.worker_id]
        pid = int(names[0].rpartition(":")[2]) if names else 0
        asleep = [one for _, pids in self._asleep for one in pids]
        return pid if pid in self._workers and pid not in asleep else None

    def _replace(self) -> None:
        process = self._processes.start("worker")
        self._workers[process.pid] = process

    def _wake(self) -> None:
        for entry in [entry for entry in self._asleep if entry[0] < time.monotonic()]:
            self._asleep.remove(entry)
            for pid in entry[1]:
                os.kill(pid, signal.SIGCONT)


def child_of(pid: int) -> int | None:
    """Find the training process of a worker."""
    pids = [p for tasks in Path(f"/proc/{pid}/task").glob("*/children") for p in tasks.read_text().split()]
    return int(pids[0]) if pids else None


def compare(run: Run, processes: Processes, expected: Uninterrupted) -> None:
    """Check that a run is what it would have been without faults."""
    columns = processes.client.series([run.id], blocks=True)[run.id]
    assert columns["update"] == list(range(1, len(expected.rows) + 1)), "rows are lost or doubled"
    for name in ("samples", "cost", "batch_loss", "train_loss", "test_loss", "gradient_norm", "step_norm"):
        assert columns[name] == [getattr(row, name) for row in expected.rows], f"{name} differs"
    for i, block in enumerate(columns["blocks"]):
        assert block["cg_iterations"] == [row.blocks[i].cg_iterations for row in expected.rows]
    assert run.weights == expected.weights, "the final weights differ"


def configuration(optimizer: Optimizer, updates: int) -> RunConfig:
    """Make a run that takes some seconds."""
    return RunConfig(
        problem=Problem(options=NARROW, test_size=200),
        optimizer=optimizer,
        budget=Budget(updates=updates),
        evaluation=Evaluation(every=5, train_subset=500, polyak_decay=0.9),
        threads=1,
    )


def storm(home: Path, *, kills: int, updates: int, seed: int) -> Counter[str]:
    """Train runs until so many faults have struck; return how many of each."""
    chance = random.Random(seed)
    processes = Processes(home, **SETTINGS)
    try:
        weather = Storm(processes, chance)
        faults = iter(lambda: chance.choice(FAULTS) if weather.struck.total() < kills else None, None)
        for number, optimizer in enumerate(cycle(OPTIMIZERS), 1):
            config = configuration(optimizer, updates)
            run = weather.train(config, faults)
            compare(run, processes, Uninterrupted(config))
            print(
                f"run {number} ({optimizer.kind}): {run.attempts} attempts, {run.summary.updates} updates, "
                f"{weather.struck.total()} faults so far: as if nothing had happened"
            )
            if weather.struck.total() >= kills:
                return weather.struck
    finally:
        processes.stop()
    raise AssertionError("unreachable")


def main() -> None:
    """Strike, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="faults in all (default 100)")
    parser.add_argument("--updates", type=int, default=400, help="updates of each run (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default 0)")
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        struck = storm(Path(home), kills=chosen.kills, updates=chosen.updates, seed=chosen.seed)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(struck.items()))
    print(f"{struck.total()} faults ({kinds}) in {time.monotonic() - started:.0f} s: no row lost, none doubled")


if __name__ == "__main__":
    main()
