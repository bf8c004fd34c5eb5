"""A sweep: several values of an optimizer's settings, and one configuration for each combination."""

from collections.abc import Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import OptimizerSettings
from backend.schemas.sweep_values import combinations

MAX_CONFIGURATIONS = next(
    limit.max_length for limit in ExperimentSpec.model_fields["optimizers"].metadata if hasattr(limit, "max_length")
)
Values = Mapping[str, Sequence[Any]]
"""Each setting's values, by its name."""


def expand(values: Values) -> list[dict[str, Any]]:
    """Return a configuration for each combination of values; one more than allowed stands for too many."""
    return list(islice(combinations(values), MAX_CONFIGURATIONS + 1))


def swept(values: Values) -> list[str]:
    """Return the names of the settings with several values."""
    return [name for name, some in values.items() if len(some) > 1]


def collapse(optimizers: Sequence[OptimizerSettings]) -> list[tuple[str, dict[str, list[Any]]]]:
    """Return the columns of the form for these optimizers, each a kind with its values: the inverse of `expand`.

    Optimizers of one kind share a column if they are every combination of their values. A list, such as the layers of
    each block, has one value in a column.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for optimizer in optimizers:
        settings = optimizer.model_dump(mode="json", exclude={"kind"})
        lists = {name: value for name, value in settings.items() if isinstance(value, list) or _has_lists(value)}
        groups.setdefault((optimizer.kind, repr(lists)), []).append(settings)
    columns = []
    for (kind, _), found in groups.items():
        values = {name: _distinct([one[name] for one in found]) for name in found[0]}
        grid = prod(map(len, values.values())) == len(found)
        columns += [(kind, values)] if grid else [(kind, {name: [one[name]] for name in one}) for one in found]
    return columns


def _has_lists(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, list) for inner in value.values())


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for number, value in enumerate(values) if value not in values[:number]]
