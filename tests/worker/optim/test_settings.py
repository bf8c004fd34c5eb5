"""The settings: one declaration, keywords, and the names of version 0.1."""

import copy
from dataclasses import fields
from typing import Any

import pytest
import torch

from backend.schemas.measures import StopReason as Reported
from tests.worker.optim.cases import CURVATURE, make, optimizer, weights
from worker.optim import BlockHessianFree, HessianFree, Settings, StopReason
from worker.optim.settings import OF_THE_OPTIMIZER

OLD_GROUP = {
    "max_cg_iterations": "max_cg_iters", "warm_start": "momentum", "cg_stop": "stop", "cg_tolerance": "tolerance",
}  # fmt: skip


def test_every_setting_has_a_place() -> None:
    """A field of Settings is read from the optimizer, or from every block's group."""
    case = make("autoencoder")
    made = optimizer(case)
    expected = {field.name for field in fields(Settings)} - OF_THE_OPTIMIZER - {"learning_rate"} | {"lr"}
    for group in made.param_groups:
        assert expected <= set(group)


@pytest.mark.parametrize(
    ("old", "new"),
    [("lr", "learning_rate"), ("max_cg_iters", "max_cg_iterations"), ("momentum", "warm_start"), ("stop", "cg_stop"),
     ("way", "product_method"), ("memory", "memory_limit")],
)  # fmt: skip
def test_old_names_are_refused_with_the_new_one(old: str, new: str) -> None:
    """A setting of version 0.1 is an error that names today's."""
    case, given = make("autoencoder"), {old: 1}
    with pytest.raises(TypeError, match=f"{old} is called {new} now"):
        HessianFree(case.model, case.loss, curvature_batch=CURVATURE, **given)  # type: ignore[arg-type]  # the point


def test_unknown_settings_are_refused() -> None:
    """A keyword that no setting has is a TypeError."""
    settings: dict[str, Any] = {"curvature_batch": CURVATURE, "speed": 2}
    case = make("autoencoder")
    with pytest.raises(TypeError, match="speed"):
        BlockHessianFree(case.model, case.loss, case.blocks, **settings)


def test_a_state_of_version_0_1_resumes_bit_for_bit() -> None:
    """The old names in param_groups are today's settings."""
    case = make("autoencoder")
    first = optimizer(case, warm_start=0.5, cg_stop="martens", cg_tolerance=0.01)
    first.step(case.inputs, case.targets)
    state = copy.deepcopy(first.state_dict())
    for group in state["param_groups"]:
        for new, old in OLD_GROUP.items():
            group[old] = group.pop(new)
    other = make("autoencoder")
    other.model.load_state_dict(case.model.state_dict())
    second = optimizer(other)
    second.load_state_dict(state)
    assert first.step(case.inputs, case.targets) == second.step(other.inputs, other.targets)
    assert torch.equal(weights(case.model), weights(other.model))
    assert not set(OLD_GROUP.values()) & set(second.param_groups[0])


def test_schedulers_of_torch_set_the_learning_rate() -> None:
    """They read and write `lr` in param_groups."""
    case = make("autoencoder")
    made = optimizer(case, learning_rate=0.4)
    schedule = torch.optim.lr_scheduler.StepLR(made, 1, gamma=0.5)
    made.step(case.inputs, case.targets)
    schedule.step()
    assert [group["lr"] for group in made.param_groups] == [0.2, 0.2]


def test_stop_reasons_are_those_of_the_rows() -> None:
    """The library, which knows no backend, and the rows have the same values."""
    assert list(StopReason) == list(map(str, Reported))
