"""Faults that strike whichever worker has a run, and the check that the run is what it would have been without."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem, RunConfig
from backend.schemas.measures import BLOCK_FIELDS, SERIES_FIELDS, Update
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Run, RunStatus
from tests.processes import Processes, training_process
from tests.recorder import Recorder
from tests.worker.cases import planned_blocks
from worker.checkpoints.files import Snapshot
from worker.delivery.reporter import retry_until_reachable
from worker.problems.registry import discover
from worker.training.trainer import train

NARROW = {"hidden_1": 64, "hidden_2": 32, "hidden_3": 16, "code": 8}
OPTIMIZERS: list[Optimizer] = [
    BlockHessianFree(gradient_batch=300, curvature_batch=100, max_cg_iterations=10),
    Adam(gradient_batch=300),
    HessianFree(gradient_batch=300, curvature_batch=100, max_cg_iterations=10),
]
ADAM_UPDATES = 5
"""So many updates of Adam take about as long as one of the others here."""
ROW_FIELDS = ("update", *(name for name in SERIES_FIELDS if not name.endswith("seconds")))
"""What a row says, but for what a clock says."""
SETTINGS = {"HEARTBEAT_SECONDS": 0.2, "CHECKPOINT_SECONDS": 0.3, "MAX_CLAIMS_WITHOUT_PROGRESS": 10_000}


class Uninterrupted:
    """What a run gives when nothing happens to it."""

    def __init__(self, config: RunConfig) -> None:
        self.rows: list[Update] = []
        self.weights = ""
        known = discover()
        blocks = planned_blocks(config, known)
        train(config, self, lambda: False, blocks=blocks, registry=known, folder=Path("nowhere"), policy=self)

    def start(self, **_: object) -> None:
        """Take no notice."""

    def update(self, row: Update) -> None:
        """Keep a row."""
        self.rows.append(row)

    def load(self) -> Snapshot | None:
        """Begin at the beginning."""
        return None

    def missing_note(self) -> str:
        """Expect no state."""
        return ""

    def due(self) -> bool:
        """Save nothing."""
        return False

    def pause_requested(self) -> bool:
        """Never pause."""
        return False

    def save(self, snapshot: Snapshot, update: int) -> bool:  # noqa: ARG002 - a policy's arguments
        """Save nothing."""
        return False

    def save_weights(self, weights: Snapshot) -> None:
        """Store the SHA-256 of the weights."""
        self.weights = hashlib.sha256(weights.to_bytes()).hexdigest()


class Storm:
    """Two workers behind a recorder, and faults that strike whichever has the run.

    Args:
        servers: what kills a server and starts it again after some seconds, by the fault's name.
    """

    def __init__(
        self, processes: Processes, chance: Random, *, lease: float, servers: dict[str, Callable[[float], None]]
    ) -> None:
        self.struck: Counter[str] = Counter()
        self.recorder = Recorder(processes.backend_url)
        self._processes = processes
        self._client = processes.client
        self._chance = chance
        self._lease = lease
        self._servers = servers
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._asleep: list[tuple[float, int, list[int]]] = []
        for _ in range(2):
            self._replace()
        processes.wait_until(lambda: any(worker.info.name != "tester" for worker in self._client.catalog().workers))

    def train(self, config: RunConfig, faults: Iterator[str], *, check: Callable[[], None] = lambda: None) -> Run:
        """Train a run to its end among faults; `check` is called after each."""
        document = config.model_dump(exclude={"optimizer", "seed"})
        spec = ExperimentSpec.model_validate(document | {"optimizers": [config.optimizer], "seeds": [config.seed]})
        (run,) = self._client.launch(spec).runs
        run_id = run.id
        due, seen, soon = time.monotonic(), (0, 0), False
        while True:
            run = retry_until_reachable(lambda: self._client.run(run_id))
            if run.status is RunStatus.FINISHED:
                self._wake(run, everyone=True)
                return run
            if run.status is RunStatus.FAILED:
                assert run.error is not None
                assert run.error.message.startswith("the training process was killed by SIGKILL"), run.error
                retry_until_reachable(lambda: self._client.retry(run_id))
            if run.claims != seen[0]:  # one fault in four strikes before the first update, the others after one
                seen, soon = (run.claims, run.summary.updates), self._chance.random() < 0.25
                due = time.monotonic() + self._chance.uniform(0, 1)
            moved = run.summary.updates > seen[1]
            if run.status is RunStatus.RUNNING and time.monotonic() > due and (soon or moved):
                fault = next(faults, None)
                if fault is not None and self._strike(fault, run):
                    self.struck[fault] += 1
                    print(f"{fault} {self.struck.total()}: update {run.summary.updates}", file=sys.stderr)
                    check()
                due = time.monotonic() + self._chance.uniform(0.1, 2)
            self._wake(run)
            time.sleep(0.05)

    def stop(self) -> None:
        """Record nothing more."""
        self.recorder.stop()

    def _strike(self, fault: str, run: Run) -> bool:
        if fault in self._servers:
            self._servers[fault](self._chance.uniform(0, 1))
            return True
        pid = self._holder(run)
        child = training_process(pid) if pid else None
        if pid is None or child is None:
            return False
        if fault == "child":
            os.kill(child, signal.SIGKILL)
        elif fault == "worker":
            self._lose(pid)
        else:
            for one in (pid, child):
                os.kill(one, signal.SIGSTOP)
            self._asleep.append((time.monotonic() + self._lease * self._chance.uniform(1, 2), run.claims, [child, pid]))
        return True

    def _lose(self, pid: int) -> None:
        """Kill a worker and start another in its place."""
        process = self._workers.pop(pid)
        process.kill()
        process.wait()
        self._replace()

    def _holder(self, run: Run) -> int | None:
        """Find the process that has the run, unless it sleeps."""
        workers = retry_until_reachable(self._client.catalog).workers
        names = [worker.info.name for worker in workers if worker.id == run.worker_id]
        pid = int(names[0].rpartition(":")[2]) if names else 0
        asleep = [one for _, _, pids in self._asleep for one in pids]
        return pid if pid in self._workers and pid not in asleep else None

    def _replace(self) -> None:
        process = self._processes.start("worker", BACKEND_URL=self.recorder.url)
        self._workers[process.pid] = process

    def _wake(self, run: Run, *, everyone: bool = False) -> None:
        """Wake those who have slept past their lease, once another worker has had the run."""
        for entry in list(self._asleep):
            until, attempt, pids = entry
            if everyone or (until < time.monotonic() and run.claims > attempt):
                self._asleep.remove(entry)
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)


def compare(run: Run, processes: Processes, expected: Uninterrupted) -> str:
    """Check that a run is what it would have been without faults; return the SHA-256 of its rows."""
    columns = retry_until_reachable(lambda: processes.client.series([run.id], blocks=True))[run.id]
    assert columns["update"] == list(range(1, len(expected.rows) + 1)), "rows are lost or doubled"
    found, wanted = fingerprints(columns), fingerprints(columns_of(expected.rows))
    different = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    assert not different, f"the rows differ: {', '.join(different)}"
    assert run.weights == expected.weights, "the final weights differ"
    return _sha256(found)


def columns_of(rows: list[Update]) -> dict[str, Any]:
    """Turn rows into columns, as the backend answers them."""
    blocks = [
        {name: [getattr(row.blocks[i], name) for row in rows] for name in BLOCK_FIELDS}
        for i in range(len(rows[0].blocks))
    ]
    return {name: [getattr(row, name) for row in rows] for name in ROW_FIELDS} | {"blocks": blocks}


def fingerprints(columns: dict[str, Any]) -> dict[str, str]:
    """Take the SHA-256 of each column but the seconds; a block's have its number before their name."""
    parts = {f"{i}.{name}": values for i, block in enumerate(columns["blocks"]) for name, values in block.items()}
    return {name: _sha256(values) for name, values in ({name: columns[name] for name in ROW_FIELDS} | parts).items()}


def _sha256(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def configuration(optimizer: Optimizer, updates: int) -> RunConfig:
    """Make a run that takes some seconds, whichever the optimizer."""
    return RunConfig(
        problem=Problem(options=NARROW, test_size=200),
        optimizer=optimizer,
        budget=Budget(updates=updates * (ADAM_UPDATES if isinstance(optimizer, Adam) else 1)),
        evaluation=Evaluation(every=5, train_subset=500, polyak_decay=0.9),
        threads=1,
    )
