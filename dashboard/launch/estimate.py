"""How long planned runs will take, from similar earlier runs, or else from their work."""

from collections.abc import Sequence
from math import ceil
from statistics import median

from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec, RunConfig
from backend.schemas.optimizers import CurvatureSettings
from backend.schemas.runs import Run

START_SECONDS = 2.0
"""time from a run's claim to its first update, on an idle machine"""
RATES = {"cpu": 2e10, "cuda": 2e12}
"""floating-point operations per second that training reaches where nothing was timed, by kind of device"""


def is_timed(spec: ExperimentSpec, earlier: Sequence[Run], workers: Sequence[WorkerInfo]) -> bool:
    """Return whether an update of the same network was timed, so that an estimate is more than a guess."""
    name = spec.problem.name
    return any(run.config.problem.name == name for run in earlier) or any(name in one.speeds for one in workers)


def wall_seconds(
    spec: ExperimentSpec,
    parameters: int,
    images: tuple[int, int],
    earlier: Sequence[Run],
    workers: Sequence[WorkerInfo],
) -> float:
    """Estimate when all runs will have ended, with their start and their evaluations.

    Args:
        spec: the planned comparison.
        parameters: how many the network has.
        images: how many images the training and the test set have.
        earlier: runs that have made updates; the most similar ones say how long an update takes.
        workers: those that are alive, with the speed of an update that each has timed.
    """
    train, test = images
    speeds = [one.speeds[spec.problem.name] for one in workers if spec.problem.name in one.speeds]
    cuda = spec.device.startswith("cuda") or any(one.kind == "cuda" for one in workers)
    assumed = median(speeds) if speeds else RATES["cuda" if cuda else "cpu"]
    total = 0.0
    for config in spec.runs():
        rate = _rate(config, earlier, timed=bool(speeds)) or assumed
        pace = _measured(config, parameters, earlier) or _work(config, parameters) / rate
        budget = config.budget
        updates = [float(budget.updates)] if budget.updates else []
        updates += [ceil(budget.epochs * train / config.optimizer.gradient_batch)] if budget.epochs else []
        updates += [budget.seconds / pace] if budget.seconds else []
        evaluations = 1 + min(updates) / config.evaluation.every
        each = 2 * parameters * (min(train, config.evaluation.train_subset) + test) / rate
        total += START_SECONDS + pace * min(updates) + each * evaluations
    return total / max(1, len(workers))


def _measured(config: RunConfig, parameters: int, earlier: Sequence[Run]) -> float | None:
    """Return the median seconds per update of similar earlier runs."""
    alike = [run for run in earlier if run.parameters == parameters and _is_similar(run.config, config)]
    paces = [run.summary.seconds / run.summary.updates for run in alike if run.summary.updates]
    return median(paces) if paces else None


def _rate(config: RunConfig, earlier: Sequence[Run], *, timed: bool) -> float | None:
    """Return the floating-point operations per second of earlier runs, of the most similar ones that there are.

    Where an update of the network was timed, runs of other networks say less than that.
    """
    network = [run for run in earlier if run.config.problem.name == config.problem.name]
    for runs in (network, [] if timed else earlier):
        same = [run for run in runs if run.config.optimizer.kind == config.optimizer.kind]
        if rate := _measured_rate(same) or _measured_rate(runs):
            return rate
    return None


def _measured_rate(earlier: Sequence[Run]) -> float | None:
    """Return the median rate of earlier runs, in floating-point operations per second."""
    rates = [
        _work(run.config, run.parameters) * run.summary.updates / run.summary.seconds
        for run in earlier
        if run.parameters and run.summary.updates and run.summary.seconds
    ]
    return median(rates) if rates else None


def _work(config: RunConfig, parameters: int) -> float:
    """Return the floating-point operations of an update of dense layers: 6 per weight and image for a gradient.

    A curvature product costs about as much as a gradient, so conjugate gradient adds its iterations on its batch.
    """
    optimizer = config.optimizer
    images = float(optimizer.gradient_batch)
    if isinstance(optimizer, CurvatureSettings):
        images += optimizer.max_cg_iterations * optimizer.curvature_batch
    return 6 * parameters * images


def _is_similar(one: RunConfig, other: RunConfig) -> bool:
    """Return whether an update of both runs is about the same work, if their networks have the same size."""
    kind, batch = one.optimizer.kind, one.optimizer.gradient_batch
    return (one.problem.name, kind, batch) == (
        other.problem.name,
        other.optimizer.kind,
        other.optimizer.gradient_batch,
    )
