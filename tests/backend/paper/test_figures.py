"""The paper's figure: panels, lines, bands, and an axis that a diverging run does not spoil."""

from dataclasses import replace

import plotly.graph_objects as go
import pytest

from backend.paper.curves import Results
from backend.paper.figures import paper_figure
from backend.schemas.paper import Axis
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


def test_what_differs_is_in_the_label() -> None:
    """Labels distinguish two settings with the same curvature batch."""
    made = results(GOOD)
    damped = made.spec.optimizers[2].model_copy(update={"damping": 0.1})
    curve = replace(made.of(made.spec.optimizers[2])[0])
    curve = replace(curve, config=curve.config.model_copy(update={"optimizer": damped}))
    spec = made.spec.model_copy(update={"optimizers": [*made.spec.optimizers, damped]})
    names = {trace.get("name") for trace in paper_figure(Results(spec, [*made.curves, curve])).data}
    assert {"BHF, curvature batch 50, damping 0.0", "BHF, curvature batch 50, damping 0.1"} <= names
