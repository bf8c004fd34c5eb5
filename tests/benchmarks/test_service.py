"""What the benchmark of the service makes of its figures."""

import pytest

from tests.benchmarks.service import LEAST, MOST, missed


def test_goals_that_are_met_or_not_measured_are_not_missed() -> None:
    """A figure at its bound is what is promised."""
    assert missed(LEAST | MOST) == []
    assert missed({}) == []


@pytest.mark.parametrize("name", [*LEAST, *MOST])
def test_a_missed_goal_is_named(name: str) -> None:
    """With its figure and its bound."""
    bound = (LEAST | MOST)[name]
    figure = bound * (0.5 if name in LEAST else 2)
    word = "least" if name in LEAST else "most"
    assert missed(LEAST | MOST | {name: figure}) == [f"{name} is {figure:.3g}: at {word} {bound}"]
