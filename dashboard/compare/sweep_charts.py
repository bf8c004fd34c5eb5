"""Static charts of sweeps: outcome by one setting, and by many settings at once. No Streamlit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from backend.schemas.optimizer_registry import OPTIMIZERS, optimizer_class
from dashboard.compare.differences import Outcome, Value

NAMED = 4  # an axis with at most this many values lists them


def slice_plot(outcomes: Sequence[Outcome], setting: str, measure: str, *, mode: str) -> go.Figure:
    """Draw each run's outcome over one setting's value; one colour per optimizer."""
    figure = go.Figure()
    values = [row.settings[setting] for row in outcomes if setting in row.settings]
    numbers = _numbers(values)
    for kind in dict.fromkeys([*OPTIMIZERS, *(row.kind for row in outcomes)]):
        optimizer = optimizer_class(kind)
        colour = getattr(optimizer.colour, mode)
        rows = [row for row in outcomes if row.kind == kind and setting in row.settings]
        rows.sort(key=lambda row: (_number(row.settings[setting]), str(row.settings[setting])))
        if rows:
            figure.add_scatter(
                x=[row.settings[setting] if numbers else _text(row.settings[setting]) for row in rows],
                y=[row.value for row in rows],
                text=[f"seed {row.seed}" for row in rows],
                name=optimizer.title,
                mode="markers",
                marker={"color": colour, "size": 10, "opacity": 0.75},
                hovertemplate="%{x}: %{y:.4~g} (%{text})",
            )
    figure.update_layout(
        xaxis={"title": setting, "type": axis_type(numbers) if numbers else "category"},
        yaxis={"title": measure, "type": axis_type([row.value for row in outcomes])},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=360,
        hovermode="closest",
        showlegend=True,
    )
    return figure


def parallel_coordinates(outcomes: Sequence[Outcome], settings: Sequence[str], measure: str, *, mode: str) -> go.Figure:
    """Draw one line per run through its settings to its outcome; each axis spans its smallest to largest value.

    The lines are plain scatter traces, because plotly's own chart of this kind uses the GPU, which may be training.
    """
    rows = [row for row in outcomes if all(name in row.settings for name in settings)]
    points = [[*(row.settings[name] for name in settings), row.value] for row in rows]
    names = [*settings, measure]
    axes = [_axis(name, column) for name, column in zip(names, zip(*points, strict=True), strict=bool(points))]
    figure = go.Figure()
    for row, point in zip(rows, points, strict=True):
        text = ", ".join(f"{name} {_text(value)}" for name, value in zip(names, point, strict=True))
        figure.add_scatter(
            x=[axis.title for axis in axes],
            y=[axis.heights[value] for axis, value in zip(axes, point, strict=True)],
            mode="lines+markers",
            line={"color": getattr(optimizer_class(row.kind).colour, mode), "width": 1.5},
            opacity=0.6,
            text=[text] * len(axes),
            hovertemplate=f"{optimizer_class(row.kind).title}, seed {row.seed}: %{{text}}<extra></extra>",
            showlegend=False,
        )
    figure.update_layout(
        height=360,
        margin={"l": 30, "r": 30, "t": 20, "b": 50},
        hovermode="closest",
        yaxis={"visible": False},
        xaxis={"showgrid": True},
    )
    return figure


@dataclass(frozen=True)
class _Axis:
    """One axis of parallel coordinates: its title, and each value's height from 0 to 1."""

    title: str
    heights: Mapping[Value, float]


def _axis(name: str, column: Sequence[Value]) -> _Axis:
    """Place numbers by their size; if any value is text, space all values evenly."""
    numbers = _numbers(column)
    if numbers:
        low, high = min(numbers), max(numbers)
        spread = high - low
        heights: dict[Value, float] = {value: (value - low) / spread if spread else 0.5 for value in numbers}
        return _Axis(f"{name}<br>{low:.4g} to {high:.4g}", heights)
    values = sorted(set(column), key=lambda value: (_number(value), str(value)))
    steps = max(1, len(values) - 1)
    words = " \N{MIDDLE DOT} ".join(map(_text, values)) if len(values) <= NAMED else f"{len(values)} values"
    return _Axis(f"{name}<br>{words}", {value: i / steps for i, value in enumerate(values)})


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
