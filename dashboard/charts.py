"""Figures of sweeps, which do not grow: one setting against an outcome, and many settings at once. No Streamlit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from backend.schemas import OPTIMIZER_COLOURS, OPTIMIZER_NAMES
from dashboard.frames import Outcome


def slice_plot(outcomes: Sequence[Outcome], setting: str, measure: str, *, mode: str) -> go.Figure:
    """Draw each run's outcome over one setting's value; one colour per optimizer."""
    figure = go.Figure()
    for kind, colour in OPTIMIZER_COLOURS[mode].items():
        rows = sorted(
            (o for o in outcomes if o.kind == kind and setting in o.settings), key=lambda o: o.settings[setting]
        )
        if rows:
            figure.add_scatter(
                x=[row.settings[setting] for row in rows],
                y=[row.value for row in rows],
                text=[f"seed {row.seed}" for row in rows],
                name=OPTIMIZER_NAMES[kind],
                mode="markers",
                marker={"color": colour, "size": 10, "opacity": 0.75},
                hovertemplate="%{x}: %{y:.4~g} (%{text})",
            )
    values = [row.settings[setting] for row in outcomes if setting in row.settings]
    figure.update_layout(
        xaxis={"title": setting, "type": scale(values)},
        yaxis={"title": measure, "type": scale([row.value for row in outcomes])},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=360,
        hovermode="closest",
        showlegend=True,
    )
    return figure


def parallel_coordinates(outcomes: Sequence[Outcome], settings: Sequence[str], measure: str, *, mode: str) -> go.Figure:
    """Draw one line per run through its settings to its outcome, each axis from its smallest to its largest value.

    Plain lines, since plotly's own kind of this chart draws with the GPU, which may be training.
    """
    rows = [row for row in outcomes if all(name in row.settings for name in settings)]
    points = [[*(row.settings[name] for name in settings), row.value] for row in rows]
    columns = list(zip(*points, strict=True))
    ends = [(min(column), max(column)) for column in columns]
    axes = [
        f"{name}<br>{low:.4g} to {high:.4g}" for name, (low, high) in zip([*settings, measure], ends, strict=bool(ends))
    ]
    figure = go.Figure()
    for row, point in zip(rows, points, strict=True):
        text = ", ".join(f"{name} {value:.4g}" for name, value in zip([*settings, measure], point, strict=True))
        figure.add_scatter(
            x=axes,
            y=[(v - low) / (high - low) if high > low else 0.5 for v, (low, high) in zip(point, ends, strict=True)],
            mode="lines+markers",
            line={"color": OPTIMIZER_COLOURS[mode][row.kind], "width": 1.5},
            opacity=0.6,
            text=[text] * len(axes),
            hovertemplate=f"{OPTIMIZER_NAMES[row.kind]}, seed {row.seed}: %{{text}}<extra></extra>",
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


def scale(values: Sequence[float]) -> str:
    """Choose a logarithmic axis for positive values that span more than a factor of 20, else a linear one."""
    return "log" if values and min(values) > 0 and max(values) / min(values) > 20 else "linear"
