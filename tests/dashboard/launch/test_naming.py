"""The name of a comparison, made from what differs."""

from typing import Any

import pytest

from backend.schemas.experiments import Budget
from backend.schemas.optimizers import Adam, BlockHessianFree, EqualPartition, HessianFree, LayerPartition
from dashboard.launch.draft import problem_presets
from dashboard.launch.naming import automatic_name
from tests.dashboard.samples import CATALOG, SPEC

INFO = CATALOG.problems[0]
PRESETS = problem_presets(CATALOG)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, SPEC.name),
        ({"seeds": [1, 2]}, SPEC.name),
        ({"problem": SPEC.problem.model_copy(update={"options": {"hidden": 10}})}, SPEC.name),
        ({"problem": SPEC.problem.model_copy(update={"options": {"hidden": 5}})}, "Sample \u00b7 hidden 5"),
        ({"budget": PRESETS["Sample, a quick look"].budget}, "Sample, a quick look"),
        ({"budget": Budget(updates=50)}, "Sample \u00b7 updates 50"),
        ({"optimizers": [Adam(), HessianFree()]}, "Sample \u00b7 Adam, HF"),
        (
            {"optimizers": [Adam(), HessianFree(damping=0.1), BlockHessianFree(damping=0.5)]},
            "Sample \u00b7 HF damping 0.1 \u00b7 BHF damping 0.5",
        ),
        (
            {"optimizers": [one.model_copy(update={"gradient_batch": 500}) for one in SPEC.optimizers]},
            "Sample \u00b7 gradient batch 500",
        ),
        (
            {
                "optimizers": [
                    BlockHessianFree(partition=EqualPartition(count=2)),
                    BlockHessianFree(partition=LayerPartition()),
                ]
            },
            "Sample \u00b7 BHF \u00b7 blocks 2, one per layer",
        ),
    ],
)
def test_a_name_says_what_differs(changes: dict[str, Any], name: str) -> None:
    """A preset's name is for that preset alone; else the settings that differ are named, once if all share them."""
    spec = SPEC.model_copy(update=changes)
    assert automatic_name(spec, INFO, PRESETS) == name


def test_a_long_name_is_cut_between_settings() -> None:
    """A name has at most the characters that the contract allows."""
    many = [HessianFree(damping=i / 16, cg_tolerance=1 / (i + 2), warm_start=i / 20) for i in range(16)]
    name = automatic_name(SPEC.model_copy(update={"optimizers": many}), INFO, PRESETS)
    assert name.startswith("Sample \u00b7 HF")
    assert len(name) <= 120
