"""`python -m tests.benchmarks.compare`: BHF, HF and Adam on the embedded digits at the paper's settings, over seeds.

The deep autoencoder, tanh, linear code and output; gradient batch 1,000 for all three, curvature batch 250, learning
rate 0.1, damping 0, 30 CG iterations, momentum 0.95; Adam 0.001. The train error is over all 4,000 training images,
after the update, in the published unit: squared error, sum over the pixels, mean over the images.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.schemas.experiments import Budget, Evaluation, Problem, RunConfig
from backend.schemas.measures import Update
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from tests.benchmarks.picture import Line, draw
from tests.worker.cases import planned_blocks
from worker.problems.registry import discover
from worker.training.trainer import train

CHECKPOINTS = (5, 10, 20, 30)
OPTIMIZERS: dict[str, Optimizer] = {"BHF": BlockHessianFree(), "HF": HessianFree(), "Adam": Adam()}
COLOURS = {"BHF": "#00825f", "HF": "#0072b2", "Adam": "#c8500a"}


@dataclass
class Errors:
    """A report that keeps the train error of each update, and says where it stands."""

    label: str
    values: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def start(self, **_: Any) -> None:
        """Need nothing of what the run is made of."""

    def update(self, row: Update) -> None:
        """Keep the train error."""
        assert row.train_loss is not None
        self.values.append(row.train_loss)
        self.seconds = row.seconds
        if sys.stderr.isatty():
            print(f"\r{self.label}: update {row.update}, train error {row.train_loss:.1f}  ", end="", file=sys.stderr)


def curves(
    optimizer: Optimizer, *, name: str, seeds: int, updates: int, threads: int | None, problem: Problem | None = None
) -> list[Errors]:
    """Train once per seed; the problem is by default the paper's network on all 4,000 images."""
    registry = discover()
    found = []
    for seed in range(seeds):
        errors = Errors(f"{name}, seed {seed}")
        config = RunConfig(
            problem=problem or Problem(),
            optimizer=optimizer,
            seed=seed,
            budget=Budget(updates=updates),
            evaluation=Evaluation(train_subset=4000),
            threads=threads,
        )
        with tempfile.TemporaryDirectory() as folder:
            train(
                config,
                errors,
                lambda: False,
                blocks=planned_blocks(config, registry),
                registry=registry,
                folder=Path(folder),
            )
        found.append(errors)
    return found


def summary(found: dict[str, list[Errors]], updates: int) -> dict[str, Any]:
    """Give mean, lowest and highest train error over the seeds at the checkpoints, and seconds per update."""
    return {
        name: {
            "train_error": {
                str(n): {"mean": sum(at) / len(at), "min": min(at), "max": max(at)}
                for n in CHECKPOINTS
                if n <= updates
                for at in [[errors.values[n - 1] for errors in runs]]
            },
            "seconds_per_update": sum(errors.seconds for errors in runs) / len(runs) / updates,
        }
        for name, runs in found.items()
    }


def table(figures: dict[str, Any]) -> str:
    """Lay the figures out in columns."""
    checkpoints = list(next(iter(figures.values()))["train_error"])
    lines = ["train error after  " + "".join(f"{n + ' updates':>26}" for n in checkpoints) + "   s per update"]
    for name, figure in figures.items():
        cells = [figure["train_error"][n] for n in checkpoints]
        texts = [f"{c['mean']:.2f} ({c['min']:.2f} to {c['max']:.2f})" for c in cells]
        lines.append(f"{name:<19}" + "".join(f"{text:>26}" for text in texts) + f"{figure['seconds_per_update']:15.2f}")
    return "\n".join(lines)


def picture(found: dict[str, list[Errors]]) -> str:
    """Draw the train errors."""
    seeds = len(next(iter(found.values())))
    return draw(
        [Line(name, COLOURS[name], [errors.values for errors in runs]) for name, runs in found.items()],
        title=f"Deep autoencoder on 4,000 MNIST digits: train error, mean and range of {seeds} seeds",
        x_title="updates",
        y_title="squared error per image (logarithmic)",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=30, help="updates per run (default 30)")
    parser.add_argument("--seeds", type=int, default=3, help="runs per optimizer (default 3)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--picture", type=Path, help="write the curves as SVG to this file")
    chosen = parser.parse_args(arguments)
    found = {
        name: curves(optimizer, name=name, seeds=chosen.seeds, updates=chosen.updates, threads=chosen.threads)
        for name, optimizer in OPTIMIZERS.items()
    }
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    figures = summary(found, chosen.updates)
    print(json.dumps(figures, indent=2) if chosen.json else table(figures))
    if chosen.picture:
        chosen.picture.write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main()
