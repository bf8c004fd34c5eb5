"""Figures of sweeps."""

import pytest

from backend.schemas.optimizer_registry import UnavailableOptimizer
from dashboard.compare import sweep_charts
from dashboard.compare.differences import Outcome, Value

ROWS = [
    Outcome("hf", 0, {"damping": 1.0, "momentum": 0.5}, 30.0),
    Outcome("hf", 0, {"damping": 0.01, "momentum": 0.9}, 20.0),
    Outcome("adam", 1, {"beta1": 0.9}, 40.0),
]


def test_a_slice_shows_the_runs_that_have_the_setting() -> None:
    """The points are ordered by the setting's value; an optimizer without that setting has none."""
    figure = sweep_charts.slice_plot(ROWS, "damping", "best train loss", mode="light")
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in figure.data] == [("HF", [0.01, 1.0], [20.0, 30.0])]
    assert (figure.layout.xaxis.title.text, figure.layout.xaxis.type) == ("damping", "log")
    assert figure.layout.yaxis.title.text == "best train loss"


def test_parallel_coordinates_end_at_the_outcome() -> None:
    """One line per run that has all settings, scaled on each axis from the smallest to the largest; outcome last."""
    figure = sweep_charts.parallel_coordinates(ROWS, ["damping", "momentum"], "best train loss", mode="light")
    first, second = figure.data
    assert list(first.x) == ["damping<br>0.01 to 1", "momentum<br>0.5 to 0.9", "best train loss<br>20 to 30"]
    assert (list(first.y), list(second.y)) == ([1, 0, 1], [0, 1, 0])


def test_a_setting_that_is_no_number_has_a_place_per_value() -> None:
    """Numbers and names of one setting stand side by side as text, numbers first, and evenly apart between 0 and 1."""
    stops: list[Value] = ["martens", 5.0, "<b>"]
    rows = [Outcome("hf", seed, {"stop": stop}, 10.0 * seed) for seed, stop in enumerate(stops, 1)]
    figure = sweep_charts.slice_plot(rows, "stop", "best train loss", mode="light")
    assert figure.layout.xaxis.type == "category"
    assert list(figure.data[0].x) == ["5", "&lt;b&gt;", "martens"]
    lines = sweep_charts.parallel_coordinates(rows, ["stop"], "best train loss", mode="light").data
    assert lines[0].x[0] == "stop<br>5 \u00b7 &lt;b&gt; \u00b7 martens"
    assert [line.y[0] for line in lines] == [1, 0, 0.5]


def test_an_empty_sweep_is_an_empty_figure() -> None:
    """Without any run that has the settings there are no lines."""
    assert not sweep_charts.parallel_coordinates([], ["damping"], "best train loss", mode="dark").data


@pytest.mark.parametrize(
    ("values", "kind"), [([1, 100], "log"), ([1, 2], "linear"), ([0, 100], "linear"), ([], "linear")]
)
def test_a_wide_span_of_positive_values_is_logarithmic(values: list[float], kind: str) -> None:
    """More than a factor of 20 makes the axis logarithmic, if all values are positive."""
    assert sweep_charts.axis_type(values) == kind


def test_runs_of_a_removed_package_are_drawn() -> None:
    """An optimizer that is not installed has a name and a colour, too."""
    rows = [Outcome("gone", 0, {"radius": 1.0}, 30.0), Outcome("adam", 0, {"radius": 2.0}, 20.0)]
    figure = sweep_charts.slice_plot(rows, "radius", "best train loss", mode="light")
    assert [trace.name for trace in figure.data] == ["Adam", UnavailableOptimizer.title]
    assert len(sweep_charts.parallel_coordinates(rows, ["radius"], "best train loss", mode="dark").data) == 2
