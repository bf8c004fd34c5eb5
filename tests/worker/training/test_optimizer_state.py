"""Tests of an optimizer's state in a checkpoint."""

import json

import pytest
import torch

from backend.errors import RunFailed
from worker.training.optimizer_state import from_parts, to_parts

STATE = {
    "state": {
        0: {"mean": torch.ones(2), "steps": 3, "old": [torch.zeros(2), None, [torch.ones(1), 0.5]], "on": {"a": True}},
        1: {"mean": torch.zeros(3)},
    },
    "param_groups": [{"lr": torch.tensor(0.1), "betas": (0.9, 0.99), "name": "all", "params": [0, 1]}],
}  # fmt: skip


def test_tensors_numbers_and_lists_come_back() -> None:
    """What JSON and a file of tensors can hold is the same afterwards; a tuple becomes a list."""
    tensors, document = to_parts(STATE)
    assert {"0.mean", "1.mean", "0.old.0", "0.old.2.0", "groups.0.lr"} == tensors.keys()
    again = from_parts(tensors, json.loads(json.dumps(document)))
    assert again["state"][0]["steps"] == 3
    assert again["state"][0]["on"] == {"a": True}
    assert torch.equal(again["state"][0]["old"][2][0], torch.ones(1))
    assert again["state"][0]["old"][1] is None
    assert again["state"][1].keys() == {"mean"}
    group = again["param_groups"][0]
    assert (group["betas"], group["name"], group["params"], group["lr"].item()) == (
        [0.9, 0.99], "all", [0, 1], pytest.approx(0.1),
    )  # fmt: skip


def test_a_document_of_version_0_1_has_tensors_alone() -> None:
    """Its checkpoints have no other values of a parameter."""
    tensors = {"0.solution": torch.ones(2)}
    again = from_parts(tensors, {"groups": [{"lr": 0.1}]})
    assert again["state"][0]["solution"] is tensors["0.solution"]
    assert again["param_groups"] == [{"lr": 0.1}]


def test_what_a_checkpoint_cannot_hold_is_named() -> None:
    """The error says which value."""
    with pytest.raises(RunFailed, match=r"0\.rule is a function"):
        to_parts({"state": {0: {"rule": lambda: 0}}, "param_groups": []})
