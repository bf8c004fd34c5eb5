"""Results with hand-made curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.paper.curves import COLUMNS, Curve, Results
from backend.schemas.experiments import ExperimentSpec, RunConfig
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import RunStatus

SMALL, LARGE = Adam(gradient_batch=10), Adam(gradient_batch=100)
BHF = {n: BlockHessianFree(gradient_batch=100, curvature_batch=n) for n in (10, 50)}
HF = {n: HessianFree(gradient_batch=100, curvature_batch=n) for n in (10, 50)}

Losses = Mapping[Optimizer, Sequence[Sequence[float]]]


def results(losses: dict[str, Sequence[Sequence[float]]], *, problem: str = "autoencoder", **states: Any) -> Results:
    """Make results: for each of small, large, bhf10, bhf50, hf10, hf50 the train losses of each seed.

    Update i takes i seconds with Adam's batches, 4 i with BHF and 3 i with HF; a name in `states` gives the status of
    its runs, by seed.
    """
    named: dict[str, Optimizer] = {"small": SMALL, "large": LARGE}
    named |= {f"bhf{n}": optimizer for n, optimizer in BHF.items()} | {f"hf{n}": o for n, o in HF.items()}
    chosen = {name: named[name] for name in losses}
    spec = ExperimentSpec.model_validate(
        {"optimizers": list(chosen.values()), "problem": {"name": problem}, "seeds": [0, 1], "name": "hand-made"}
    )
    curves = []
    for name, optimizer in chosen.items():
        pace = {"adam": 1.0, "bhf": 4.0, "hf": 3.0}[optimizer.kind]
        for seed, values in enumerate(losses[name]):
            config = RunConfig(problem=spec.problem, optimizer=optimizer, seed=seed)
            status = states.get(name, [RunStatus.FINISHED] * len(losses[name]))[seed]
            curves.append(Curve(config, status, columns(values, pace), {"torch": "2.13"}))
    return Results(spec, curves)


def columns(values: Sequence[float], pace: float) -> dict[str, list[Any]]:
    """Make a curve's columns: one evaluation per update."""
    updates = list(range(1, len(values) + 1))
    made: dict[str, list[Any]] = {name: [pace * i for i in updates] for name in COLUMNS}
    losses = list(values)
    return made | {"update": updates, "train_loss": losses, "test_loss": losses, "test_accuracy": [None] * len(losses)}


GOOD: dict[str, Sequence[Sequence[float]]] = {
    "small": [[*(30.0 - i / 2 for i in range(39)), 10.0]] * 2,
    "large": [[40.0, 30.0, 20.0, 12.0]] * 2,
    "bhf50": [[20.0, 10.0, 8.0], [22.0, 10.0, 8.5]],
    "bhf10": [[20.0, 12.0, 9.0], [22.0, 12.0, 9.5]],
    "hf50": [[21.0, 11.0, 8.0], [22.0, 11.0, 9.0]],
    "hf10": [[24.0, 14.0, 12.0], [24.0, 14.0, 13.0]],
}
"""every claim holds"""
