"""What a race costs: the seconds of each run, and the wall time of the comparison, beside the same runs one by one.

python -m tests.benchmarks.race [--json] [--rounds 3] [--updates 40] [--threads 1]

A real backend and a real worker. Each round trains Adam, HF and BHF on the paper's autoencoder twice, once raced and
once sequentially, where a run trains alone. `seconds` is the ratio of a run's training time, `cpu` that of its
processor time, `wall` that of the time from the launch to the last end; medians over the rounds. Other load of the
machine distorts `seconds` and `wall`, and `cpu` little. `start` is the time from a claim to a run's first row, and
`load` the load average at the end.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem, Schedule
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from tests.processes import Processes

OPTIMIZERS: list[Optimizer] = [
    Adam(gradient_batch=500),
    HessianFree(gradient_batch=500, curvature_batch=100, max_cg_iterations=10),
    BlockHessianFree(gradient_batch=500, curvature_batch=100, max_cg_iterations=10),
]


class Measured:
    """One comparison: its wall time, and by optimizer the training and processor time [s]."""

    def __init__(self, processes: Processes, schedule: Schedule, *, updates: int, threads: int) -> None:
        spec = ExperimentSpec(
            name=schedule, problem=Problem(train_size=2000, test_size=500), optimizers=OPTIMIZERS, threads=threads,
            budget=Budget(updates=updates), evaluation=Evaluation(every=10, train_subset=500), schedule=schedule,
        )  # fmt: skip
        runs = processes.client.launch(spec).runs
        first = _wait_for_row(processes, runs[0].id)
        ended = processes.client.wait([run.id for run in runs], timeout=3600)
        ends = [run.finished_at.timestamp() for run in ended if run.finished_at is not None]
        self.wall = max(ends) - min(run.created_at.timestamp() for run in ended)
        self.start = first - min(run.started_at.timestamp() for run in ended if run.started_at is not None)
        series = processes.client.series([run.id for run in runs], fields=["seconds", "cpu_seconds"])
        self.seconds = {run.config.optimizer.kind: series[run.id]["seconds"][-1] for run in ended}
        self.cpu = {run.config.optimizer.kind: series[run.id]["cpu_seconds"][-1] for run in ended}


def _wait_for_row(processes: Processes, run_id: str) -> float:
    """Wait for the first row of a run; return the time, in seconds since 1970."""
    while not processes.client.run(run_id).summary.updates:
        time.sleep(0.02)
    return time.time()


def measure(*, rounds: int, updates: int, threads: int) -> dict[str, object]:
    """Train every round both ways; return the medians of the ratios, raced to sequential."""
    pairs: list[tuple[Measured, Measured]] = []
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder), "backend", "worker") as processes:
        for _ in range(rounds):
            raced = Measured(processes, "race", updates=updates, threads=threads)
            pairs.append((raced, Measured(processes, "sequential", updates=updates, threads=threads)))
    kinds = [optimizer.kind for optimizer in OPTIMIZERS]
    return {
        "seconds": {kind: statistics.median(r.seconds[kind] / s.seconds[kind] for r, s in pairs) for kind in kinds},
        "cpu": {kind: statistics.median(r.cpu[kind] / s.cpu[kind] for r, s in pairs) for kind in kinds},
        "wall": statistics.median(r.wall / s.wall for r, s in pairs),
        "wall_seconds": [statistics.median(pair[i].wall for pair in pairs) for i in range(2)],
        "start": statistics.median(one.start for pair in pairs for one in pair),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    figures = measure(rounds=chosen.rounds, updates=chosen.updates, threads=chosen.threads)
    if chosen.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:14}{value}")


if __name__ == "__main__":
    main()
