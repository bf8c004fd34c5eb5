"""What a race costs: seconds of each run, wall time of the comparison, and the time until each curve begins.

python -m tests.benchmarks.race [--json] [--rounds 3] [--updates 20] [--threads N]

A real backend and a real worker. Each round trains Adam, HF and BHF on the paper's autoencoder twice: raced, and one
after another, where a run trains alone. Odd rounds begin with the race, even ones end with it, so that a machine that
becomes slower or faster favours neither. All figures are medians over the rounds; a ratio is raced to alone.

seconds      training time of the run. Goal: ratio within 0.9 and 1.1.
cpu          its processor time, which other load of the machine distorts little.
first point  time from the launch to the curve's first point. Goal: 20 s for each curve.
wall         time from the launch to the end of the last run. Goal: ratio at most 1.1.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem, Schedule
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from tests.processes import Processes

OPTIMIZERS: list[Optimizer] = [
    Adam(gradient_batch=250),
    HessianFree(gradient_batch=250, curvature_batch=50, max_cg_iterations=10),
    BlockHessianFree(gradient_batch=250, curvature_batch=50, max_cg_iterations=10),
]
TITLES = [optimizer.title for optimizer in OPTIMIZERS]
POLL_SECONDS = 0.05
LONGEST_SECONDS = 3600


@dataclass(frozen=True)
class Trained:
    """One comparison: its wall time, and by optimizer seconds, processor time and time to the first point [s]."""

    wall: float
    seconds: dict[str, float]
    cpu: dict[str, float]
    first: dict[str, float]


def specification(schedule: Schedule, *, updates: int, threads: int | None) -> ExperimentSpec:
    """Return the comparison. Evaluations are small: their time is no training time, but wall time."""
    return ExperimentSpec(
        name=schedule, problem=Problem(train_size=1000, test_size=100), optimizers=OPTIMIZERS, threads=threads,
        budget=Budget(updates=updates), evaluation=Evaluation(train_subset=100), schedule=schedule,
    )  # fmt: skip


def train(processes: Processes, spec: ExperimentSpec) -> Trained:
    """Launch a comparison and wait for its end."""
    client, launched = processes.client, time.monotonic()
    experiment = client.launch(spec).id
    first: dict[str, float] = {}
    while True:
        runs, now = client.experiment(experiment).runs, time.monotonic() - launched
        for run in runs:
            if run.summary.last_train_loss is not None:
                first.setdefault(run.config.optimizer.title, now)
        if all(run.final for run in runs):
            break
        assert now < LONGEST_SECONDS, f"not ended within {LONGEST_SECONDS} s"
        time.sleep(POLL_SECONDS)
    assert [run.status for run in runs] == ["finished"] * len(runs), [run.error for run in runs]
    series = client.series([run.id for run in runs], fields=["seconds", "cpu_seconds"])
    ends = [run.finished_at.timestamp() for run in runs if run.finished_at is not None]
    titles = {run.config.optimizer.title: series[run.id] for run in runs}
    return Trained(
        wall=max(ends) - min(run.created_at.timestamp() for run in runs),
        seconds={title: columns["seconds"][-1] for title, columns in titles.items()},
        cpu={title: columns["cpu_seconds"][-1] for title, columns in titles.items()},
        first=first,
    )


def measure(*, rounds: int, updates: int, threads: int | None) -> list[tuple[Trained, Trained]]:
    """Return for each round the raced comparison and the one whose runs trained alone."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder), "backend", "worker") as processes:
        train(processes, specification("sequential", updates=1, threads=threads))  # files are in memory afterwards
        for number in range(rounds):
            order: list[Schedule] = ["race", "sequential"] if number % 2 == 0 else ["sequential", "race"]
            done = {one: train(processes, specification(one, updates=updates, threads=threads)) for one in order}
            pairs.append((done["race"], done["sequential"]))
            print(f"round {number + 1} of {rounds}: {sum(one.wall for one in done.values()):.0f} s", file=sys.stderr)
    return pairs


def table(pairs: Sequence[tuple[Trained, Trained]]) -> list[dict[str, Any]]:
    """Return a row for each run, and one for the comparison."""
    rows: list[dict[str, Any]] = []
    for title in TITLES:
        rows.append(
            {
                "run": title,
                "raced": median(raced.seconds[title] for raced, _ in pairs),
                "alone": median(alone.seconds[title] for _, alone in pairs),
                "ratio": median(raced.seconds[title] / alone.seconds[title] for raced, alone in pairs),
                "cpu": median(raced.cpu[title] / alone.cpu[title] for raced, alone in pairs),
                "first point": median(raced.first[title] for raced, _ in pairs),
                "in sequence": median(alone.first[title] for _, alone in pairs),
            }
        )
    rows.append(
        {
            "run": "wall",
            "raced": median(raced.wall for raced, _ in pairs),
            "alone": median(alone.wall for _, alone in pairs),
            "ratio": median(raced.wall / alone.wall for raced, alone in pairs),
        }
    )
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--threads", type=int, help="of each run; default: the worker's choice, all cores")
    chosen = parser.parse_args()
    rows = table(measure(rounds=chosen.rounds, updates=chosen.updates, threads=chosen.threads))
    load = os.getloadavg()[0]
    if chosen.json:
        print(json.dumps({"rows": rows, "cores": os.cpu_count(), "load": load}))
        return
    heads = list(rows[0])
    print("".join(f"{head:>13}" for head in heads))
    for row in rows:
        cells = [f"{row[head]:.2f}" if isinstance(row.get(head), float) else row.get(head, "") for head in heads]
        print("".join(f"{cell:>13}" for cell in cells))
    print(f"times in s; {os.cpu_count()} cores, load average {load:.1f} at the end")


if __name__ == "__main__":
    main()
