"""Tests of the knobs' rows and of path=value settings."""

from typing import Any

import pytest

from backend.cli.optimizer_arguments import assign, optimizer_knobs, parse_optimizer, shared_knobs
from backend.errors import InvalidInput


def test_every_field_of_an_optimizer_is_a_knob_with_help() -> None:
    """Damping stands under HF and BHF, betas under Adam, each with bounds, default and help."""
    knobs = {kind: {knob.path: knob for knob in rows} for kind, rows in optimizer_knobs().items()}
    assert set(knobs) == {"adam", "hf", "bhf"}
    assert "≥ 0" in knobs["hf"]["damping"].limits
    assert knobs["adam"]["beta2"].default == 0.999
    assert knobs["bhf"]["momentum"].paper == 0.95
    assert all(knob.help for rows in knobs.values() for knob in rows.values())


def test_shared_knobs_have_dotted_paths() -> None:
    """A budget's limit is set as budget.updates, an experiment's name as name."""
    paths = {knob.path for knob in shared_knobs()}
    assert {"budget.updates", "problem.train_size", "evaluation.every", "device", "name"} <= paths


def test_an_optional_knob_shows_its_limits_and_unit() -> None:
    """A field that may be empty keeps its bounds in its one line of help."""
    line = next(str(knob) for knob in shared_knobs() if knob.path == "budget.seconds")
    assert line.startswith("budget.seconds = empty s (> 0")


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
    """Kind first, then its knobs."""
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
        parse_optimizer("sgd")
