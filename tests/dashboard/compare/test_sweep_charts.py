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
    runs, means = figure.data
    assert [(trace.name, list(trace.x), list(trace.y)) for trace in (runs, means)] == [
        ("HF, runs", [0, 1], [20.0, 30.0]),
        ("HF, mean", [0, 1], [20.0, 30.0]),
    ]
    assert (list(figure.layout.xaxis.tickvals), list(figure.layout.xaxis.ticktext)) == ([0, 1], ["0.01", "1"])
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("damping", "best train loss")


def test_a_slice_has_the_mean_of_each_value() -> None:
    """Seeds of one value are points; the line goes through their mean."""
    rows = [Outcome("hf", seed, {"damping": d}, d + seed) for d in (1.0, 2.0) for seed in (0, 4)]
    runs, means = sweep_charts.slice_plot(rows, "damping", "loss", mode="dark").data
    assert (list(runs.y), list(means.y)) == ([1, 5, 2, 6], [3, 4])


def test_parallel_coordinates_end_at_the_outcome() -> None:
    """One line per run that has all settings, scaled from the smallest to the largest; the best is on top."""
    figure = sweep_charts.parallel_coordinates(ROWS, ["damping", "momentum"], "best train loss", mode="light")
    worst, best = figure.data
    assert list(figure.layout.xaxis.ticktext) == ["damping", "momentum", "best train loss"]
    assert (list(worst.y), list(best.y)) == ([1, 0, 1], [0, 1, 0])
    colours = {line.line.color for line in figure.data}
    assert len(colours) == 2
    upward = sweep_charts.parallel_coordinates(ROWS, ["damping"], "accuracy", mode="light", higher=True)
    assert upward.data[1].line.color == best.line.color
    assert list(upward.data[1].y) == [1, 1]


def test_a_wide_axis_is_logarithmic_and_zero_has_a_place() -> None:
    """Equal factors are equally far apart; zero is below them, apart from the smallest."""
    rows = [Outcome("hf", 0, {"damping": d}, 1.0 + i) for i, d in enumerate((0.0, 0.01, 0.1, 1.0))]
    figure = sweep_charts.parallel_coordinates(rows, ["damping"], "loss", mode="light")
    zero, low, middle, high = sorted(line.y[0] for line in figure.data)
    assert (zero, high) == (0, pytest.approx(1))
    assert low > 0.1
    assert middle - low == pytest.approx(high - middle)
    assert [note.text for note in figure.layout.annotations][:4] == ["0", "0.01", "0.1", "1"]


def test_a_setting_that_is_no_number_has_a_place_per_value() -> None:
    """Numbers and names of one setting are side by side as text, numbers first, and evenly apart between 0 and 1."""
    stops: list[Value] = ["martens", 5.0, "<b>"]
    rows = [Outcome("hf", seed, {"stop": stop}, 10.0 * seed) for seed, stop in enumerate(stops, 1)]
    figure = sweep_charts.slice_plot(rows, "stop", "best train loss", mode="light")
    assert list(figure.layout.xaxis.ticktext) == ["5", "&lt;b&gt;", "martens"]
    assert list(figure.data[0].x) == [0, 0.5, 1]
    lines = sweep_charts.parallel_coordinates(rows, ["stop"], "best train loss", mode="light").data
    assert [line.y[0] for line in lines] == [0.5, 0, 1]


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
    names = [trace.name.partition(",")[0] for trace in figure.data]  # runs and their mean
    assert names == ["Adam", "Adam", *[UnavailableOptimizer.title] * 2]
    assert len(sweep_charts.parallel_coordinates(rows, ["radius"], "best train loss", mode="dark").data) == 2
