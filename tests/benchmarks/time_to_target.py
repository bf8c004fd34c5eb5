"""Training seconds and updates until the train error that Adam reaches after 600 updates: Adam and BHF.

python -m tests.benchmarks.time_to_target [--json] [--only adam bhf_100 ...] [--updates 600] [--folder .]

The deep autoencoder on the complete MNIST training set, gradient batch 2,000, one thread each, through the product's
own network, sampler and optimizers. bhf_n: block-diagonal Hessian-free, curvature batch n. error: train error over the
first images of the training set in the published unit (squared error, sum over the pixels, mean over the images),
evaluated every few updates. seconds: process time of the updates alone, evaluation not counted. reached: whether the
error is at most the target; where it is not, the figures are those of the last update. best: the lowest error seen.
Adam and BHF have the paper's settings; options change BHF's.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backend.catalog.validation import resolve_blocks
from backend.schemas.experiments import Problem, RunConfig
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, CgStop
from backend.settings import Settings
from worker.problems.autoencoder import PROBLEM
from worker.problems.data import Dataset
from worker.problems.data.idx_data import MNIST
from worker.problems.registry import discover
from worker.training.device import threads
from worker.training.evaluation import measure
from worker.training.optimizer_factory import make_optimizer
from worker.training.sampling import Sampler
from worker.training.trainer import initial_model

GRADIENT_BATCH = 2000
CURVATURE_BATCHES = (50, 100, 250, 500)
NAMES = ("adam", *(f"bhf_{n}" for n in CURVATURE_BATCHES))


@dataclass(frozen=True)
class Point:
    """Where a run stands: updates done, training seconds, work in gradients of S_g, train error."""

    updates: int
    seconds: float
    cost: float
    error: float


def course(
    optimizer: Optimizer, data: Dataset, *, updates: int, every: int, target: float | None, chosen: argparse.Namespace
) -> list[Point]:
    """Train from the seed's initial weights; return the evaluations, the last one at the target if it is reached."""
    model = initial_model(PROBLEM, RunConfig(optimizer=optimizer, seed=chosen.seed), data)
    blocks = resolve_blocks(optimizer, Problem(), discover().catalog())
    stepper = make_optimizer(optimizer, model, PROBLEM.loss, blocks)
    sampler, shown = Sampler(len(data.train), optimizer.gradient_batch, chosen.seed), data.train.head(chosen.subset)
    points: list[Point] = []
    seconds = cost = 0.0
    for update in range(1, updates + 1):
        start = time.process_time()
        images, labels = data.train.batch(sampler.draw(), torch.float32)
        cost += stepper.step(PROBLEM.inputs(images), PROBLEM.targets(images, labels)).cost
        seconds += time.process_time() - start
        if update % every == 0 or update == updates:
            points.append(Point(update, seconds, cost, measure(PROBLEM, model, shown, torch.float32).loss))
            print(f"{points[-1]}", file=sys.stderr, flush=True)
            if target is not None and (points[-1].error <= target or seconds > chosen.max_seconds):
                break
    return points


def figures(points: list[Point], target: float) -> dict[str, Any]:
    """Describe the first evaluation at or below the target, or else the last one."""
    met = next((p for p in points if p.error <= target), None)
    at = met or points[-1]
    return {
        "seconds": round(at.seconds, 2), "updates": at.updates, "error": round(at.error, 4), "cost": round(at.cost, 1),
        "reached": met is not None, "best": round(min(p.error for p in points), 4),
    }  # fmt: skip


def contenders(chosen: argparse.Namespace) -> dict[str, Optimizer]:
    """Return the optimizers by key, at the settings chosen."""
    shared: dict[str, Any] = {
        "gradient_batch": GRADIENT_BATCH, "learning_rate": chosen.learning_rate, "damping": chosen.damping,
        "max_cg_iterations": chosen.max_cg_iterations, "warm_start": chosen.warm_start, "cg_stop": CgStop(chosen.stop),
        "cg_tolerance": chosen.tolerance,
    }  # fmt: skip
    made: dict[str, Optimizer] = {"adam": Adam(gradient_batch=GRADIENT_BATCH)}
    return made | {f"bhf_{n}": BlockHessianFree(curvature_batch=n, **shared) for n in CURVATURE_BATCHES}


def options() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object")
    add("--only", nargs="*", default=list(NAMES), choices=NAMES)
    add("--updates", type=int, default=600, help="Adam's updates, after which its error is the target")
    add("--max-updates", type=int, default=200, help="where a BHF run ends that has not reached the target")
    add("--max-seconds", type=float, default=float("inf"), help="likewise, in training seconds")
    add("--target", type=float, help="the error to reach, where Adam's is known already")
    add("--every", type=int, default=2, help="BHF is evaluated after every n updates, Adam after every 5 n")
    add("--subset", type=int, default=5000, help="training images over which the error is taken")
    add("--seed", type=int, default=0)
    add("--folder", type=Path, default=Settings().home / "data", help="where the data set is kept, or fetched to")
    add("--learning-rate", type=float, default=0.1)
    add("--damping", type=float, default=0.0)
    add("--max-cg-iterations", type=int, default=30)
    add("--warm-start", type=float, default=0.95)
    add("--stop", choices=[kind.value for kind in CgStop], default="iterations")
    add("--tolerance", type=float, default=5e-4)
    return parser


def compare(chosen: argparse.Namespace, data: Dataset) -> dict[str, Any]:
    """Run Adam, then the others until its error."""
    target, found, optimizers = chosen.target, {}, contenders(chosen)
    if target is None:
        points = course(
            optimizers["adam"], data, updates=chosen.updates, every=5 * chosen.every, target=None, chosen=chosen
        )
        target = points[-1].error
        found["adam"] = figures(points, target)
    for name in (n for n in chosen.only if n != "adam"):
        print(name, file=sys.stderr)
        points = course(
            optimizers[name], data, updates=chosen.max_updates, every=chosen.every, target=target, chosen=chosen
        )
        found[name] = figures(points, target)
    return {"target": round(target, 4)} | found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    chosen = options().parse_args(arguments)
    with threads(1):
        found = compare(chosen, MNIST.load(chosen.folder))
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    print(f"target: train error {found.pop('target')}")
    for name, row in found.items():
        print(f"{name:8} {row['seconds']:9.1f} s {row['updates']:5} updates  error {row['error']}")


if __name__ == "__main__":
    main()
