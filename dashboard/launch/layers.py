"""The layers of a problem with their shapes, for the block editor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from backend.schemas.catalog import DataSet, Dimension, ProblemInfo
from backend.schemas.experiments import OptionValue
from dashboard.ui.setting_text import TIMES


@dataclass(frozen=True)
class LayerRow:
    """A layer in the block editor."""

    name: str
    shapes: str
    parameters: int


def layer_rows(problem: ProblemInfo, data: DataSet, options: Mapping[str, OptionValue | None]) -> list[LayerRow]:
    """Resolve each layer's shapes from the chosen options, default options and the data set's sizes."""
    names: dict[str, Any] = {"inputs": data.inputs, "classes": data.classes}
    names |= dict(zip(("channels", "height", "width"), data.shape, strict=False))
    names |= {name: setting.get("default") for name, setting in problem.options.get("properties", {}).items()}
    names |= {name: value for name, value in options.items() if value is not None}
    rows = []
    for layer in problem.layers:
        shapes = {name: [_size(n, names) for n in shape] for name, shape in layer.parameters.items()}
        count = sum(prod(shape) for shape in shapes.values())
        text = ", ".join(f"{name} {TIMES.join(map(str, shape))}" for name, shape in shapes.items())
        rows.append(LayerRow(layer.name, text, count))
    return rows


def _size(dimension: Dimension, names: Mapping[str, Any]) -> int:
    value = names.get(dimension, 0) if isinstance(dimension, str) else dimension
    return int(value) if isinstance(value, int | float) else 0


def imbalance(sizes: Sequence[int]) -> float:
    """Return the largest block's size over the mean block's; 1 is balanced."""
    return max(sizes) * len(sizes) / sum(sizes) if sizes and sum(sizes) else 1.0
