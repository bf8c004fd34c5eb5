"""Combinations of a sweep's values, and the way back."""

from typing import Any

import pytest

from backend.schemas.optimizers import (
    Adam,
    BlockHessianFree,
    EqualPartition,
    ExplicitPartition,
    HessianFree,
    OptimizerSettings,
)
from dashboard.launch.sweep import MAX_CONFIGURATIONS, collapse, expand, swept

GRID: list[OptimizerSettings] = [
    HessianFree(damping=damping, max_cg_iterations=count) for damping in (0, 0.1) for count in (10, 20)
]
LISTED = [BlockHessianFree(partition=ExplicitPartition(blocks=[["a"], [b]])) for b in ("b", "c")]


def test_every_combination_once() -> None:
    """Each combination is a configuration; a sweep of billions ends one after the limit."""
    assert expand({"damping": [0, 1], "stop": ["a", "b"]}) == [
        {"damping": damping, "stop": stop} for damping in (0, 1) for stop in ("a", "b")
    ]
    assert swept({"damping": [0, 1], "stop": ["a"]}) == ["damping"]
    assert len(expand(dict.fromkeys("abcdef", range(100)))) == MAX_CONFIGURATIONS + 1


@pytest.mark.parametrize(
    ("optimizers", "columns"),
    [
        ([Adam(), *GRID], 2),
        (GRID[:3], 3),
        (LISTED, 2),
        ([BlockHessianFree(partition=EqualPartition(count=n)) for n in (1, 2, 4)], 1),
    ],
)
def test_columns_expand_to_the_same_optimizers(optimizers: list[Any], columns: int) -> None:
    """A grid is one column, other optimizers have one each; nothing is lost or added."""
    found = collapse(optimizers)
    assert len(found) == columns
    again = [{"kind": kind} | one for kind, values in found for one in expand(values)]
    wanted = [one.model_dump(mode="json") for one in optimizers]
    assert sorted(again, key=_order) == sorted(wanted, key=_order)


def _order(settings: dict[str, Any]) -> str:
    return repr(sorted(settings.items()))


def test_the_limit_is_the_contracts() -> None:
    """A comparison holds at most as many configurations as the contract allows."""
    assert MAX_CONFIGURATIONS == 32
