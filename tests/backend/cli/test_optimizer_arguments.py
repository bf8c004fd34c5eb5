"""Tests of the settings' lines and of path=value settings."""

from typing import Any

import pytest

from backend.cli.optimizer_arguments import assign, help_line, optimizer_settings, parse_optimizer, shared_settings
from backend.errors import InvalidInput
from backend.schemas.optimizer_registry import OPTIMIZERS


def test_every_field_of_an_optimizer_is_a_setting_with_help() -> None:
    """Damping is listed under HF and BHF, betas under Adam, each with bounds, default and help."""
    settings = optimizer_settings()
    assert list(settings) == list(OPTIMIZERS)
    assert "at least 0" in settings["hf"]["damping"].limits
    assert settings["adam"]["beta2"].default == 0.999
    assert settings["bhf"]["warm_start"].paper == 0.95
    assert all(field.help for rows in settings.values() for field in rows.values())


def test_shared_settings_have_dotted_paths() -> None:
    """A budget's limit is set as budget.updates, an experiment's name as name."""
    assert {"budget.updates", "problem.train_size", "evaluation.every", "device", "name"} <= set(shared_settings())


def test_an_optional_setting_shows_its_limits_and_unit() -> None:
    """A field that may be empty keeps its bounds in its one line of help."""
    line = help_line("budget.seconds", shared_settings()["budget.seconds"])
    assert line.startswith("budget.seconds = empty s (more than 0")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("a.b=3", 3), ("a.b=1e-3", 0.001), ("a.b=[1, 2]", [1, 2]), ("a.b=", None), ("a.b=true", True), ("a.b=x y", "x y")],
)
def test_assign_reads_values_as_yaml(setting: str, value: Any) -> None:
    """Numbers, lists, booleans and empty values arrive as such."""
    target: dict[str, Any] = {"a": {"c": 1}}
    assign(target, setting)
    assert target == {"a": {"c": 1, "b": value}}


@pytest.mark.parametrize("setting", ["updates", "=3", "a.c.d=1", "a.c={b: ", "a.c=2024-13-45"])
def test_a_malformed_setting_is_refused(setting: str) -> None:
    """A setting without path or '=', or below a plain value, names what is wrong."""
    with pytest.raises(InvalidInput):
        assign({"a": {"c": 1}}, setting)


def test_an_optimizer_in_one_line() -> None:
    """Kind first, then its settings."""
    assert parse_optimizer("bhf damping=0.1 partition.kind=layers") == {
        "kind": "bhf",
        "damping": 0.1,
        "partition": {"kind": "layers"},
    }
    assert parse_optimizer("bhf partition={kind: explicit, blocks: [[a], [b]]} damping=1e-3") == {
        "kind": "bhf",
        "damping": 0.001,
        "partition": {"kind": "explicit", "blocks": [["a"], ["b"]]},
    }
    with pytest.raises(InvalidInput, match="must be one of adam, hf, bhf"):
        parse_optimizer("rprop")
