"""Damping per block, and the Levenberg-Marquardt rule."""

import math

import pytest

from worker.optim import PartitionError
from worker.optim.solver.damping import LEAST, MOST, adapted, per_block, reduction_ratio


def test_one_number_serves_every_block() -> None:
    """A number is every block's damping; a list is taken as it is."""
    assert per_block(0.5, 3) == [0.5, 0.5, 0.5]
    assert per_block([0, 0.25], 2) == [0, 0.25]


@pytest.mark.parametrize(
    ("damping", "says"),
    [
        ([0.1, -1.0], "damping is -1.0"),
        (math.nan, "damping is nan"),
        (math.inf, "damping is inf"),
    ],
)
def test_damping_out_of_range_is_refused(damping: float | list[float], says: str) -> None:
    """An error names the value."""
    with pytest.raises(ValueError, match=says):
        per_block(damping, 2)


def test_dampings_must_be_as_many_as_blocks() -> None:
    """An error names both numbers."""
    with pytest.raises(PartitionError, match="damping has 1 values: must be one number, or 2"):
        per_block([0.1], 2)


@pytest.mark.parametrize(
    ("actual", "predicted", "ratio"),
    [(-1.0, -2.0, 0.5), (1.0, -2.0, -0.5), (math.inf, -1.0, -math.inf), (math.nan, -1.0, -math.inf)],
)
def test_ratio_of_actual_to_predicted(actual: float, predicted: float, ratio: float) -> None:
    """The ratio is positive where the loss fell as predicted, and minus infinity where it is not finite."""
    assert reduction_ratio(actual, predicted) == ratio


@pytest.mark.parametrize("predicted", [0.0, 1.0, math.nan])
def test_no_ratio_where_no_decrease_is_predicted(predicted: float) -> None:
    """A model that does not predict a decrease says nothing about the damping."""
    assert reduction_ratio(-1.0, predicted) is None


def test_no_ratio_of_what_rounding_hides() -> None:
    """A predicted decrease smaller than the loss's rounding says nothing either."""
    assert reduction_ratio(1e-7, -1e-7, rounding=2e-7) is None
    assert reduction_ratio(-3e-7, -3e-7, rounding=2e-7) == 1


@pytest.mark.parametrize(
    ("ratio", "factor"),
    [(-math.inf, 1.5), (0.24, 1.5), (0.25, 1), (0.5, 1), (0.75, 1), (0.76, 2 / 3), (5, 2 / 3), (None, 1)],
)
def test_damping_follows_the_ratio(ratio: float | None, factor: float) -> None:
    """Below 1/4 the damping grows by half, above 3/4 it shrinks by a third."""
    assert adapted(0.6, ratio) == pytest.approx(0.6 * factor, rel=1e-15)


def test_damping_stays_within_its_limits() -> None:
    """It never becomes 0 or infinite."""
    small = large = 1.0
    for _ in range(3000):
        small, large = adapted(small, 1.0), adapted(large, 0.0)
    assert (small, large) == (LEAST, MOST)
