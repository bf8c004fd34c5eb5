"""Statistics of runs and of pairs of runs with equal seed; the verdicts follow from them."""

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from math import inf, isfinite
from statistics import fmean, median

from backend.paper.curves import Curve
from backend.schemas.runs import RunStatus

Pair = tuple[Curve, Curve]


def paired(first: Sequence[Curve], second: Sequence[Curve]) -> list[Pair]:
    """Pair the runs with equal seed."""
    by_seed = {curve.config.seed: curve for curve in second}
    return [(curve, by_seed[curve.config.seed]) for curve in first if curve.config.seed in by_seed]


def last_loss(curve: Curve) -> float:
    """Return the final train loss; infinite if the run diverged."""
    return inf if curve.status is RunStatus.FAILED else float(curve.columns["train_loss"][-1])


def relative_excess(ours: float, theirs: float) -> float:
    """Return (ours - theirs) / theirs; 0 if both are infinite."""
    return 0.0 if ours == theirs else ours / theirs - 1


def loss_ratio(ours: float, theirs: float) -> float:
    """Return ours / theirs; infinite if either is infinite."""
    return ours / theirs if isfinite(theirs) else inf


def ratio_at_common_loss(pair: Pair, axis: str) -> float:
    """Return what the second run needs on an axis, divided by what the first needs, to reach a common loss.

    The common loss is the lowest one that both runs reach.
    """
    target = max(min(curve.columns["train_loss"]) for curve in pair)
    ours, theirs = (curve.first_at(target, axis) for curve in pair)
    assert ours is not None
    assert theirs is not None
    return theirs / ours


def median_or_inf(values: Sequence[float]) -> float:
    """Return the median; infinite if there are no values."""
    return median(values) if values else inf


def median_curve(curves: Sequence[Curve]) -> list[float]:
    """Return the median train loss over seeds at each evaluation; a diverged run counts as infinite."""
    losses = [[inf if value is None else value for value in curve.columns["train_loss"]] for curve in curves]
    return [median(values) for values in zip_longest(*losses, fillvalue=inf)]


def growth_per_update(curve: Curve, axis: str) -> float:
    """Return the median increase of an axis per update; the median ignores single slow updates."""
    points = list(zip(curve.columns["update"], curve.columns[axis], strict=True))
    steps = [(b - a) / (after - before) for (before, a), (after, b) in pairwise([(0, 0.0), *points])]
    return float(median(steps))


def noise(curve: Curve) -> float:
    """Return the noise of the test loss around its trend; for white noise this is the standard deviation."""
    values = curve.columns["test_loss"][len(curve.columns["test_loss"]) // 2 :]
    seconds = [(c - 2 * b + a) ** 2 for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return float((fmean(seconds) / 6) ** 0.5) if seconds and curve.status is RunStatus.FINISHED else inf
