"""The paper's figures from runs, in plotly's JSON format; this module does not import plotly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10
from statistics import fmean, median
from typing import Any, Literal

from backend.paper.curves import Curve, Results
from backend.schemas.measures import COMPARED, UPDATE_MEASURES
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.paper import Axis, PlotlyFigure
from backend.schemas.runs import RunStatus

Mode = Literal["light", "dark"]


_DASHES = ("solid", "dash", "dot", "dashdot")
_INK = {"light": ("#1b2330", "#d9dee6"), "dark": ("#e8ecf2", "#323b49")}
_ROW_HEIGHT, _EDGE, _GAP = 300, 120, 0.08


@dataclass(frozen=True)
class Departure:
    """The point at which a run leaves the frame through its top (`above`), or its last one before it failed."""

    x: float
    y: float
    update: int
    above: bool
    failed: bool


def paper_figure(results: Results, *, axis: Axis = "update", mode: Mode = "light") -> PlotlyFigure:
    """Draw the figure in the paper's layout: BHF and Adam by mini-batch left, BHF and HF by curvature batch right.

    Rows are train loss, test loss and, for classifiers, test accuracy. A line is the median over seeds, and its band
    reaches from the lowest seed to the highest. The left axis is logarithmic, since Adam makes many more updates.
    """
    rows = [name for name in COMPARED if any(value is not None for c in results.curves for value in c.columns[name])]
    rows = rows or ["train_loss", "test_loss"]
    optimizers = results.spec.optimizers
    first_order = [o for o in optimizers if not o.has_curvature]
    block_diagonal = [o for o in optimizers if o.has_blocks]
    one_block = [o for o in optimizers if o.has_curvature and not o.has_blocks]
    columns = ([*first_order, *block_diagonal], [*block_diagonal, *one_block])
    dashes, labels = _dashes(optimizers), _labels(optimizers)
    data: list[dict[str, Any]] = []
    named: set[str] = set()
    for row, measure in enumerate(rows):
        for column, shown in enumerate(columns):
            panel = _panel(row, column)
            for optimizer in shown:
                colour = getattr(optimizer.colour, mode)
                label = labels[optimizer.model_dump_json()]
                style = {"label": label, "colour": colour, "dash": dashes[optimizer.model_dump_json()], "panel": panel}
                data += _lines(results.of(optimizer), axis, measure, style, named=label not in named)
                named.add(label)
    layout = _layout(rows, axis, mode)
    for row, measure in enumerate(rows):
        limits = _limits(results, measure) if UPDATE_MEASURES[measure].scale == "log" else None
        for column, shown in enumerate(columns):
            panel = _panel(row, column)
            if limits:
                layout[f"yaxis{panel}"]["range"] = limits
            marked = [(o, _departures(results.of(o), axis, measure, 10 ** limits[1] if limits else inf)) for o in shown]
            for place, (optimizer, departures) in enumerate((o, found) for o, found in marked if found):
                label = labels[optimizer.model_dump_json()]
                data.append(
                    _mark(departures, label, getattr(optimizer.colour, mode), place, len(results.of(optimizer)))
                    | {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "legendgroup": label}
                )
    return PlotlyFigure(data=data, layout=layout)


def _limits(results: Results, measure: str) -> list[float] | None:
    """Return the log10 range of a loss axis: from the lowest value to slightly above Adam's first value.

    A diverging run leaves the frame, because it would flatten all other curves.
    """
    baselines = [c.columns[measure] for c in results.curves if not c.config.optimizer.has_curvature]
    first = [values[0] for values in baselines if values and values[0] is not None]
    seen = [v for c in results.curves for v in c.columns[measure] if v is not None and v > 0]
    if not first or not seen or max(first) <= 0:
        return None
    return [log10(0.95 * min(seen)), log10(1.15 * max(first))]


def _departures(curves: Sequence[Curve], axis: Axis, measure: str, top: float) -> list[Departure]:
    """Return where runs leave the frame through its top or fail, in the order of updates."""
    found = []
    for curve in curves:
        points = [
            point
            for point in zip(*(curve.columns[name] for name in (axis, measure, "update")), strict=True)
            if None not in point
        ]
        failed = curve.status is RunStatus.FAILED
        above = next((point for point in points if point[1] > top), None)
        if above:
            found.append(Departure(above[0], top, above[2], above=True, failed=failed))
        elif failed and points:
            x, y, update = points[-1]
            found.append(Departure(x, y, update, above=False, failed=True))
    return sorted(found, key=lambda departure: departure.update)


def _mark(departures: Sequence[Departure], label: str, colour: str, place: int, runs: int) -> dict[str, Any]:
    """Mark the first departure of an optimizer's runs, and count the runs; `place` moves the text down by lines."""
    first, failed = departures[0], sum(departure.failed for departure in departures)
    count = f"{failed or len(departures)} of {runs} " * (runs > 1)
    text = f"{count}diverged" if failed else f"{count}above the frame"
    own = f"{'<br>' * place}{label.partition(', ')[2]}: {text}"
    return diverged_mark(
        [first.x], [first.y], [own], [f"{label}: {text}, the first after update {first.update}"],
        colour, symbol="triangle-up" if first.above else "x",
    )  # fmt: skip


def diverged_mark(
    x: Sequence[Any], y: Sequence[float], texts: Sequence[str], hover: Sequence[str], colour: str, *, symbol: str
) -> dict[str, Any]:
    """Return a trace of marks where runs diverged, each with a text beside it; the legend does not list it."""
    return {
        "x": list(x), "y": list(y), "text": list(texts), "hovertext": list(hover), "hoverinfo": "text",
        "mode": "markers+text", "textposition": "bottom right", "textfont": {"size": 11, "color": colour},
        "marker": {"symbol": symbol, "size": 11, "color": colour}, "cliponaxis": False, "showlegend": False,
    }  # fmt: skip


def _dashes(optimizers: Sequence[Optimizer]) -> dict[str, str]:
    """Return a line style for each optimizer: solid for the first of its kind."""
    seen: dict[str, int] = {}
    chosen = {}
    for optimizer in optimizers:
        chosen[optimizer.model_dump_json()] = _DASHES[seen.get(optimizer.kind, 0) % len(_DASHES)]
        seen[optimizer.kind] = seen.get(optimizer.kind, 0) + 1
    return chosen


def _labels(optimizers: Sequence[Optimizer]) -> dict[str, str]:
    """Return a label for each optimizer: its batch, and the settings in which it differs from others of its kind."""
    named = {}
    for optimizer in optimizers:
        own = optimizer.model_dump(mode="json")
        others = [o.model_dump(mode="json") for o in optimizers if o.kind == optimizer.kind]
        batch = "curvature_batch" if optimizer.has_curvature else "gradient_batch"
        differing = [name for name in own if name != batch and any(other[name] != own[name] for other in others)]
        words = [f"{'batch' if batch == 'gradient_batch' else 'curvature batch'} {own[batch]}"]
        words += [f"{name.replace('_', ' ')} {_shown(own[name])}" for name in differing]
        named[optimizer.model_dump_json()] = ", ".join([optimizer.title, *words])
    return named


def _shown(value: Any) -> str:
    return " ".join(str(part) for part in value.values()) if isinstance(value, Mapping) else str(value)


def _lines(
    curves: Sequence[Curve], axis: Axis, measure: str, style: Mapping[str, Any], *, named: bool
) -> list[dict[str, Any]]:
    """Draw the median over the seeds that have come as far, and the band between the lowest and the highest."""
    curves = [curve for curve in curves if curve.columns["update"]]
    if not curves:
        return []
    points = []
    longest = max(curves, key=lambda curve: len(curve.columns["update"]))
    for i, update in enumerate(longest.columns["update"]):
        values = [c.columns[measure][i] for c in curves if len(c.columns["update"]) > i]
        values = [value for value in values if value is not None]
        if values:
            places = [c.columns[axis][i] for c in curves if len(c.columns["update"]) > i]
            points.append((fmean(places) if axis != "update" else update, median(values), min(values), max(values)))
    x, mean, low, high = (list(column) for column in zip(*points, strict=True)) if points else ([], [], [], [])
    where = {"xaxis": f"x{style['panel']}", "yaxis": f"y{style['panel']}", "legendgroup": style["label"]}
    band = {
        "x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "fillcolor": style["colour"], "opacity": 0.15,
        "line": {"width": 0}, "hoverinfo": "skip", "mode": "lines", "showlegend": False, **where,
    }  # fmt: skip
    line = {
        "x": x, "y": mean, "name": style["label"], "mode": "lines", "showlegend": named,
        "line": {"color": style["colour"], "dash": style["dash"], "width": 2}, **where,
    }  # fmt: skip
    return [band, line] if len(curves) > 1 else [line]


def _layout(rows: Sequence[str], axis: Axis, mode: Mode) -> dict[str, Any]:
    height = (1 - _GAP * (len(rows) - 1)) / len(rows)
    layout = base_layout(mode) | {
        "height": _ROW_HEIGHT * len(rows) + _EDGE,
        "legend": {"orientation": "h", "y": -_EDGE / 1.6 / (_ROW_HEIGHT * len(rows)), "yanchor": "top"},
        "annotations": [
            {
                "text": text,
                "x": x,
                "y": 1.0,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
            }
            for text, x in (("BHF against Adam", 0.225), ("BHF against HF", 0.775))
        ],
    }
    for row, measure in enumerate(rows):
        top, lowest = 1 - row * (height + _GAP), row == len(rows) - 1
        for column, domain in enumerate(((0.0, 0.45), (0.55, 1.0))):
            name = _panel(row, column)
            x = axis_style(mode) | {"domain": domain, "anchor": f"y{name}", "showticklabels": lowest}
            x |= {"type": "log"} if column == 0 else {}
            layout[f"xaxis{name}"] = x | ({"matches": f"x{_panel(0, column)}"} if row else {})
            layout[f"xaxis{name}"] |= {"title": axis_title(UPDATE_MEASURES[axis].axis_title if lowest else "")}
            layout[f"yaxis{name}"] = axis_style(mode) | {
                "domain": (max(0.0, top - height), top), "anchor": f"x{name}",
                "type": UPDATE_MEASURES[measure].scale.replace("share", "linear"),
                "title": axis_title(UPDATE_MEASURES[measure].title if column == 0 else ""),
            }  # fmt: skip
    return layout


def _panel(row: int, column: int) -> str:
    """Return the suffix of a panel's axes in plotly: empty for the first panel."""
    number = 2 * row + column + 1
    return "" if number == 1 else str(number)


def base_layout(mode: Mode) -> dict[str, Any]:
    """Return the layout that all figures share."""
    return {
        "font": {"color": _INK[mode][0], "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "margin": {"l": 60, "r": 12, "t": 30, "b": 50},
    }


def axis_style(mode: Mode) -> dict[str, Any]:
    """Return the style of an axis."""
    ink = _INK[mode][1]
    return {"gridcolor": ink, "linecolor": ink, "zeroline": False, "automargin": True, "nticks": 5}


def axis_title(text: str) -> dict[str, Any]:
    """Return the title of an axis, in the size of the tick labels."""
    return {"text": text, "font": {"size": 13}, "standoff": 8}
