"""Tests of how the optimizers of packages are found, and of stored runs whose optimizer is no longer available."""

import logging
from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from backend.schemas import optimizer_registry
from backend.schemas.experiments import ExperimentSpec, RunConfig, StoredSpec
from backend.schemas.optimizer_registry import GROUP, OPTIMIZERS, UnavailableOptimizer, discover, optimizer_class
from backend.schemas.optimizers import Adam, OptimizerSettings
from tests.examples.sign_sgd.settings import SignSgd

SIGN = "tests.examples.sign_sgd.settings:SignSgd"


class NoTitle(OptimizerSettings):
    """No title, and no other attribute."""

    kind: Literal["untitled"] = "untitled"


class NoDefault(SignSgd):
    """A setting without a default."""

    kind: Literal["bare"] = "bare"  # type: ignore[assignment]
    size: int


def points(*entries: tuple[str, str]) -> list[EntryPoint]:
    """Return entry points of these names and values."""
    return [EntryPoint(name, value, GROUP) for name, value in entries]


def test_an_optimizer_of_a_package_comes_after_the_built_in_ones() -> None:
    """It is found by its kind."""
    found, failures = discover(points(("sign", SIGN)))
    assert list(found) == [*OPTIMIZERS, "sign"]
    assert (found["sign"], failures) == (SignSgd, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("broken", "tests.examples.missing:Settings"),
        ("broken", "tests.examples.sign_sgd.settings:Missing"),
        ("broken", "tests.examples.sign_sgd.settings:setting"),
        ("other", SIGN),
        ("Sign", SIGN),
        ("adam", SIGN),
        ("untitled", f"{__name__}:NoTitle"),
        ("bare", f"{__name__}:NoDefault"),
    ],
)
def test_one_that_fails_is_named_and_hurts_no_other(name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an import error, nor a wrong class, nor the name of a built-in optimizer stops the others."""
    with caplog.at_level(logging.WARNING):
        found, failures = discover(points((name, value), ("sign", SIGN)))
    assert list(found) == [*OPTIMIZERS, "sign"]
    assert found["adam"] is Adam
    assert list(failures) == [name]
    assert value in failures[name]
    [record] = caplog.records
    assert (name, value) == record.args[:2]  # type: ignore[index]  # the warning's arguments are a tuple


def test_of_two_packages_with_one_name_neither_is_used() -> None:
    """Which one is meant does not depend on the order of their installation."""
    found, failures = discover(points(("sign", SIGN), ("sign", f"{__name__}:NoTitle")))
    assert ("sign" in found, list(failures)) == (False, ["sign"])
    assert "sign" in discover(points(("sign", SIGN), ("sign", SIGN)))[0]  # installed twice, as by pip and an editor


GONE: dict[str, Any] = {"kind": "gone", "learning_rate": 0, "gradient_batch": 7, "radius": 0.5}


def test_a_stored_run_of_a_removed_package_can_be_read() -> None:
    """Its settings survive; neither it nor its comparison can be launched again."""
    config = RunConfig.model_validate({"optimizer": GONE})
    assert isinstance(config.optimizer, UnavailableOptimizer)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert config.optimizer.model_dump() == GONE
    assert optimizer_class("gone") is UnavailableOptimizer
    stored = StoredSpec.model_validate({"optimizers": [GONE, {"kind": "adam"}]})
    assert stored.to_launch() is None
    with pytest.raises(ValidationError):
        ExperimentSpec.model_validate({"optimizers": [GONE]})
    known = StoredSpec(optimizers=[Adam()], seeds=[3])
    assert known.to_launch() == ExperimentSpec(optimizers=[Adam()], seeds=[3])


def test_a_wrong_setting_of_a_built_in_optimizer_is_refused_everywhere() -> None:
    """Only the optimizers of packages can be unavailable."""
    with pytest.raises(ValidationError):
        RunConfig.model_validate({"optimizer": {"kind": "adam", "learning_rate": -1}})


def test_a_launch_names_why_its_optimizer_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the failed entry point is the error."""
    monkeypatch.setitem(optimizer_registry.FAILURES, "gone", "the reason")
    with pytest.raises(ValidationError) as caught:
        ExperimentSpec.model_validate({"optimizers": [GONE]})
    assert [(error["loc"], error["ctx"]["error"].args) for error in caught.value.errors()] == [
        (("optimizers", 0), ("the reason",))
    ]
