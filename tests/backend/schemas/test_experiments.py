"""Tests of specifications."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from backend.errors import from_validation
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem, RunConfig
from backend.schemas.optimizers import Adam, BlockHessianFree, EqualPartition, HessianFree

KINDS = [Adam, HessianFree, BlockHessianFree, Problem, Budget, Evaluation, EqualPartition, ExperimentSpec, RunConfig]
HF = {"kind": "hf", "gradient_batch": 10, "curvature_batch": 5}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_explained(kind: type[BaseModel]) -> None:
    """Each field that a user sets has a line of help and a unit, and unknown fields are refused."""
    for name, schema in kind.model_json_schema()["properties"].items():
        if name in {"kind", "optimizer"} or "$ref" in schema or "oneOf" in schema:
            continue
        assert schema["description"], name
        assert "unit" in schema, name
    assert kind.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    ("document", "field", "limit"),
    [
        ({"optimizers": []}, "optimizers", "at least 1 item"),
        ({"optimizers": [HF | {"curvature_batch": 10}]}, "optimizers.0.curvature_batch", "smaller than gradient_batch"),
        ({"optimizers": [{"kind": "hf", "gradient_batch": 250}]}, "optimizers.0.curvature_batch", "which is 250"),
        ({"optimizers": [HF | {"damping": float("nan")}]}, "optimizers.0.damping", "finite number"),
        ({"optimizers": [HF | {"adaptive_damping": True}]}, "optimizers.0.adaptive_damping", "damping above 0"),
        ({"optimizers": [{"kind": "bhf", "block_damping": "0.1 x"}]}, "optimizers.0.block_damping.1", "number"),
        ({"optimizers": [{"kind": "bhf", "block_damping": "0.1 1e7"}]}, "optimizers.0.block_damping.1", "1000000"),
        (
            {"optimizers": [{"kind": "bhf", "block_damping": "0 1", "damping": 1, "adaptive_damping": True}]},
            "optimizers.0.block_damping",
            "above 0",
        ),
        ({"optimizers": [HF | {"partition": {}}]}, "optimizers.0.partition", "not permitted"),
        ({"optimizers": [HF, HF]}, "optimizers", "duplicate"),
        ({"optimizers": [HF], "seeds": [1, 1]}, "seeds", "unique"),
        ({"optimizers": [HF, {"kind": "adam"}, {"kind": "bhf"}], "seeds": list(range(100))}, "seeds", "at most 200"),
        ({"optimizers": [HF], "budget": {"updates": None}}, "budget", "the run never ends"),
        ({"optimizers": [HF], "seeds": [2**31]}, "seeds.0", "2147483647"),
        ({"optimizers": [HF], "problem": {"name": "../etc"}}, "problem.name", "pattern"),
        (
            {"optimizers": [{"kind": "bhf", "partition": {"kind": "equal", "count": 65}}]},
            "optimizers.0.partition.count",
            "64",
        ),
        ({"optimizers": [HF], "name": " "}, "name", "at least 1 character"),
    ],
)
def test_bad_comparisons_are_named(document: dict[str, Any], field: str, limit: str) -> None:
    """What the contract forbids is refused with its path, without the names of union members, and its limit."""
    with pytest.raises(ValidationError) as caught:
        ExperimentSpec.model_validate(document)
    (error,) = from_validation(caught.value).errors
    assert error.field == field
    assert limit in error.limit


def test_runs_are_seeds_by_optimizers() -> None:
    """A comparison expands into each optimizer with the first seed, then with the next."""
    spec = ExperimentSpec(optimizers=[Adam(), HessianFree()], seeds=[5, 6], device="cpu", precision="float64")
    assert [(run.seed, run.optimizer.kind) for run in spec.runs()] == [(5, "adam"), (5, "hf"), (6, "adam"), (6, "hf")]
    assert {(run.device, run.precision) for run in spec.runs()} == {("cpu", "float64")}


@pytest.mark.parametrize("optimizer", [Adam(), HessianFree(), BlockHessianFree(partition=EqualPartition(count=3))])
def test_configurations_survive_json(optimizer: Adam | HessianFree | BlockHessianFree) -> None:
    """A configuration written as JSON and read again is the same, whatever its optimizer."""
    config = RunConfig(optimizer=optimizer, problem=Problem(options={"code": 3, "output": "linear", "rate": 0.5}))
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_nothing_changes_afterwards() -> None:
    """An instance of the contract cannot be edited."""
    with pytest.raises(ValidationError, match="frozen"):
        Adam().learning_rate = 1.0  # type: ignore[misc] # that is the point
