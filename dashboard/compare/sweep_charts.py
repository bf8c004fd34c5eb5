"""Static charts of sweeps: outcome by one setting, and by many settings at once. No Streamlit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from backend.schemas.optimizer_registry import OPTIMIZERS, optimizer_class
from dashboard.compare.differences import Outcome, Value

MAX_TICKS = 7  # an axis with more values names the smallest and the largest
_ZERO = 0.12  # share of a logarithmic axis between zero, at its end, and the smallest positive value


def slice_plot(outcomes: Sequence[Outcome], setting: str, measure: str, *, mode: str) -> go.Figure:
    """Draw each run's outcome over one setting's value, and a line through the means; one colour per optimizer."""
    figure = go.Figure()
    axis = _axis(setting, [row.settings[setting] for row in outcomes if setting in row.settings])
    for kind in dict.fromkeys([*OPTIMIZERS, *(row.kind for row in outcomes)]):
        optimizer = optimizer_class(kind)
        colour = getattr(optimizer.colour, mode)
        rows = [row for row in outcomes if row.kind == kind and setting in row.settings]
        rows.sort(key=lambda row: axis.heights[row.settings[setting]])
        if not rows:
            continue
        names = [_text(row.settings[setting]) for row in rows]
        figure.add_scatter(
            x=[axis.heights[row.settings[setting]] for row in rows],
            y=[row.value for row in rows],
            text=[f"{name}, seed {row.seed}" for name, row in zip(names, rows, strict=True)],
            name=f"{optimizer.title}, runs",
            mode="markers",
            marker={"color": colour, "size": 9, "opacity": 0.5},
            hovertemplate="%{text}: %{y:.4~g}<extra></extra>",
        )
        means = {
            name: fmean(row.value for row in rows if _text(row.settings[setting]) == name)
            for name in dict.fromkeys(names)
        }
        figure.add_scatter(
            x=list(dict.fromkeys(axis.heights[row.settings[setting]] for row in rows)),
            y=list(means.values()),
            text=list(means),
            name=f"{optimizer.title}, mean",
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"color": colour, "size": 11, "symbol": "diamond"},
            hovertemplate="%{text}: mean %{y:.4~g}<extra></extra>",
        )
    figure.update_layout(
        xaxis={"title": setting, "tickvals": list(axis.ticks), "ticktext": list(axis.ticks.values())},
        yaxis={"title": measure, "type": axis_type([row.value for row in outcomes])},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=360,
        hovermode="closest",
        showlegend=True,
    )
    return figure


def parallel_coordinates(
    outcomes: Sequence[Outcome], settings: Sequence[str], measure: str, *, mode: str, higher: bool = False
) -> go.Figure:
    """Draw one line per run through its settings to its outcome, whose rank colours it; the best are on top.

    The lines are plain scatter traces, because plotly's own chart of this kind uses the GPU, which may be training.

    Args:
        outcomes: the runs; those without one of the settings are left out.
        settings: names of the settings, one axis each.
        measure: name of the outcome.
        mode: "light" or "dark".
        higher: whether a larger outcome is the better one.
    """
    rows = [row for row in outcomes if all(name in row.settings for name in settings)]
    rows.sort(key=lambda row: row.value if higher else -row.value)
    points = [[*(row.settings[name] for name in settings), row.value] for row in rows]
    names = [*settings, measure]
    axes = [_axis(name, column) for name, column in zip(names, zip(*points, strict=True), strict=bool(points))]
    scale = _SCALES[mode]
    # By rank, because one far outcome would give all others the same colour; the last axis has the values.
    values = list(dict.fromkeys(row.value for row in rows))
    ranks = {value: rank / max(1, len(values) - 1) for rank, value in enumerate(values)}
    figure = go.Figure(layout={"template": "plotly_dark" if mode == "dark" else "plotly_white"})
    for row, point in zip(rows, points, strict=True):
        text = ", ".join(f"{name} {_text(value)}" for name, value in zip(names, point, strict=True))
        figure.add_scatter(
            x=list(range(len(axes))),
            y=[axis.heights[value] for axis, value in zip(axes, point, strict=True)],
            mode="lines+markers",
            line={"color": sample_colorscale(scale, ranks[row.value])[0], "width": 2},
            opacity=0.85,
            text=[text] * len(axes),
            hovertemplate=f"{optimizer_class(row.kind).title}, seed {row.seed}: %{{text}}<extra></extra>",
            showlegend=False,
        )
    for place, axis in enumerate(axes):
        for tick, word in axis.ticks.items():
            figure.add_annotation(
                x=place, y=tick, text=word, showarrow=False, xanchor="right", xshift=-12, bgcolor=_GROUND[mode]
            )
    figure.update_layout(
        height=400,
        margin={"l": 70, "r": 40, "t": 20, "b": 40},
        hovermode="closest",
        dragmode="select",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        yaxis={"visible": False, "range": [-0.05, 1.05], "fixedrange": True},
        xaxis={
            "tickvals": list(range(len(axes))),
            "ticktext": [axis.title for axis in axes],
            "range": [-0.25, max(0.25, len(axes) - 0.9)],
            "fixedrange": True,
            "zeroline": False,
            "tickfont": {"size": 14},
        },
    )
    return figure


_SCALES = {"light": ["#d9c9a3", "#3d8f8a", "#3b0a54"], "dark": ["#5b4a78", "#3fa39b", "#f7e34a"]}
"""Colours of the worst to the best outcome; their lightness falls or rises, so that they differ in grey."""
_GROUND = {"light": "rgba(255,255,255,0.85)", "dark": "rgba(16,20,27,0.85)"}


@dataclass(frozen=True)
class _Axis:
    """One axis: its title, each value's height from 0 to 1, and the text of the heights that have a tick."""

    title: str
    heights: Mapping[Value, float]
    ticks: Mapping[float, str]


def _axis(name: str, column: Sequence[Value]) -> _Axis:
    """Place numbers by their size, over a wide range by their logarithm; if any is text, space all evenly."""
    numbers = _numbers(column)
    values: list[Value] = sorted(set(column), key=lambda value: (_number(value), str(value)))
    if numbers:
        heights = dict(zip(values, _heights(sorted(set(numbers))), strict=True))
    else:
        heights = {value: i / max(1, len(values) - 1) for i, value in enumerate(values)}
    ticked = values if len(values) <= MAX_TICKS or not numbers else [values[0], values[-1]]
    return _Axis(_text(name), heights, {heights[value]: _text(value) for value in ticked})


def _heights(values: Sequence[float]) -> list[float]:
    """Return the heights of ascending values: zero is below the logarithms of the positive ones."""
    low, high = values[0], values[-1]
    if low == high:
        return [0.5]
    positive = values[1:] if low == 0 else values
    if axis_type(positive) != "log":
        return [(value - low) / (high - low) for value in values]
    base = _ZERO if low == 0 else 0.0
    span = log(high / positive[0])
    return [0.0] * (low == 0) + [base + (1 - base) * log(value / positive[0]) / span for value in positive]


def _numbers(values: Sequence[Value]) -> list[float]:
    """Return the values if all are numbers, else an empty list."""
    numbers = [value for value in values if not isinstance(value, str)]
    return numbers if len(numbers) == len(values) else []


def _number(value: Value) -> float:
    return value if isinstance(value, float) else float("inf")


def _text(value: Value) -> str:
    """Write a value, and escape what plotly would read as markup."""
    text = value if isinstance(value, str) else f"{value:.4g}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis_type(values: Sequence[float]) -> str:
    """Return "log" for positive values that span more than a factor of 20, else "linear"."""
    return "log" if values and min(values) > 0 and max(values) / min(values) > 20 else "linear"
