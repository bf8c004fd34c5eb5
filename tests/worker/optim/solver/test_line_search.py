"""Armijo's rule on functions of one variable."""

import math

import pytest

from worker.optim.solver.line_search import armijo


def test_full_step_that_lowers_enough_is_taken() -> None:
    """Where f(1) is low enough nothing else is tried, and a known f(1) is not computed again."""
    tried: list[float] = []

    def loss(scale: float) -> float:
        tried.append(scale)
        return (scale - 1) ** 2

    assert armijo(loss, start=1.0, slope=-2.0) == 1.0
    assert tried == [1.0]
    assert armijo(loss, start=1.0, slope=-2.0, first=0.0) == 1.0
    assert tried == [1.0]


def test_first_scale_that_fits_is_taken() -> None:
    """On f(t) = (10 t - 1)^2 the result fits, and the next larger one does not."""
    found = armijo(lambda t: (10 * t - 1) ** 2, start=1.0, slope=-20.0)
    # f(t) <= 1 - 0.2 t means 100 t <= 19.8
    assert found == pytest.approx(0.8 ** math.ceil(math.log(0.198) / math.log(0.8)))
    assert found <= 0.198 < found / 0.8


def test_sufficient_decrease_is_asked_for() -> None:
    """A loss that falls, but by less than a hundredth of the slope, is not enough."""
    assert armijo(lambda t: 1 - 0.009 * t, start=1.0, slope=-1.0) == 0.0
    assert armijo(lambda t: 1 - 0.011 * t, start=1.0, slope=-1.0) == 1.0


def test_a_rise_within_rounding_is_let_pass() -> None:
    """A decrease that rounding hides does not end in no step at all."""
    assert armijo(lambda _: 1 + 1e-7, start=1.0, slope=-1e-9) == 0.0
    assert armijo(lambda _: 1 + 1e-7, start=1.0, slope=-1e-9, rounding=2e-7) == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_passed_over(value: float) -> None:
    """The step shrinks until the loss is a number."""
    assert armijo(lambda t: value if t > 0.5 else 0.0, start=1.0, slope=-1.0) == pytest.approx(0.8**4)


@pytest.mark.parametrize("slope", [0.0, 1.0, math.nan])
def test_direction_that_does_not_point_down_is_not_taken(slope: float) -> None:
    """No trial is spent on it."""
    assert armijo(lambda _: pytest.fail("tried"), start=1.0, slope=slope) == 0.0
