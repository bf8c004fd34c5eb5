"""The paper's figure: panels, lines, bands, and an axis that a diverging run does not spoil."""

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from backend.paper.curves import Results
from backend.paper.figures import paper_figure
from backend.schemas.paper import Axis, PlotlyFigure
from backend.schemas.runs import RunStatus
from tests.backend.paper.samples import GOOD, results


def test_panels_and_lines() -> None:
    """Left Adam and BHF, right BHF and HF, for train and test; plotly accepts the figure."""
    figure = paper_figure(results(GOOD))
    go.Figure(figure.model_dump())
    panels: dict[str, list[str]] = {}
    for trace in figure.data:
        if "name" in trace:
            panels.setdefault(trace["xaxis"], []).append(trace["name"].split(",")[0])
    assert panels == {name: ["Adam", "Adam", "BHF", "BHF"] for name in ("x", "x3")} | {
        name: ["BHF", "BHF", "HF", "HF"] for name in ("x2", "x4")
    }


@pytest.mark.parametrize(("axis", "first"), [("update", 1), ("seconds", 4)])
def test_axes(axis: Axis, first: float) -> None:
    """The chosen axis gives the places; a band reaches from the lowest seed to the highest."""
    traces = paper_figure(results(GOOD), axis=axis).data
    line = next(trace for trace in traces if trace.get("name") == "BHF, curvature batch 50")
    band = traces[traces.index(line) - 1]
    assert line["x"][0] == first
    assert band["y"] == [22, 10, 8.5, 8, 10, 20]


def test_a_diverging_run_leaves_the_frame() -> None:
    """The axis ends a bit above where Adam began, whatever another optimizer does."""
    layout = paper_figure(results(GOOD | {"hf10": [[20.0, 1e30, 1e30]] * 2})).layout
    low, high = layout["yaxis"]["range"]
    assert 10**low < 8 < 40 < 10**high < 50


def marks(figure: PlotlyFigure) -> list[dict[str, Any]]:
    """Return the marks of runs that diverged."""
    return [trace for trace in figure.data if trace["mode"] == "markers+text"]


def test_runs_that_leave_the_frame_are_marked_where_they_do() -> None:
    """The mark is at the top at the first run's update, in each panel of its optimizer, and counts the runs."""
    lost = GOOD | {"hf10": [[20.0, 14.0, 1e30], [20.0, 1e30, 1e30]]}
    figure = paper_figure(results(lost, hf10=[RunStatus.FINISHED, RunStatus.FAILED]))
    go.Figure(figure.model_dump())
    found = marks(figure)
    assert [mark["xaxis"] for mark in found] == ["x2", "x4"]
    assert (found[0]["x"], found[0]["marker"]["symbol"]) == ([2], "triangle-up")
    assert found[0]["y"] == pytest.approx([10 ** figure.layout["yaxis2"]["range"][1]])
    assert "1 of 2" in found[0]["text"][0]
    assert "update 2" in found[0]["hovertext"][0]


def test_a_run_that_fails_within_the_frame_is_marked_at_its_end() -> None:
    """Its last values are low; nothing else has a mark, and a run without values has none."""
    ended = results(GOOD | {"bhf10": [[20.0, 12.0], []]}, bhf10=[RunStatus.FAILED, RunStatus.FAILED])
    found = marks(paper_figure(ended))
    assert [(mark["xaxis"], mark["x"], mark["y"], mark["marker"]["symbol"]) for mark in found] == [
        (axis, [2], [12.0], "x") for axis in ("x", "x2", "x3", "x4")
    ]
    assert marks(paper_figure(results(GOOD))) == []


def test_what_differs_is_in_the_label() -> None:
    """Labels distinguish two settings with the same curvature batch."""
    made = results(GOOD)
    damped = made.spec.optimizers[2].model_copy(update={"damping": 0.1})
    curve = replace(made.of(made.spec.optimizers[2])[0])
    curve = replace(curve, config=curve.config.model_copy(update={"optimizer": damped}))
    spec = made.spec.model_copy(update={"optimizers": [*made.spec.optimizers, damped]})
    names = {trace.get("name") for trace in paper_figure(Results(spec, [*made.curves, curve])).data}
    assert {"BHF, curvature batch 50, damping 0.0", "BHF, curvature batch 50, damping 0.1"} <= names
