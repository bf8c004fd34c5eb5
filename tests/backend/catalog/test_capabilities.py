"""Tests of whether the living workers can train a comparison."""

import pytest

from backend.catalog.capabilities import check_optimizers
from backend.errors import InvalidInput
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam, HessianFree

SPEC = ExperimentSpec(optimizers=[Adam(), HessianFree()])


def worker(name: str, *optimizers: str) -> WorkerInfo:
    """Describe a worker that reports these optimizers, or none."""
    return WorkerInfo(name=name, device="cpu", threads=1, optimizers=list(optimizers) or None)


def test_each_worker_must_have_each_optimizer() -> None:
    """Any of them can claim any run of the comparison; one that reports nothing is of an earlier version."""
    check_optimizers(SPEC, [])
    check_optimizers(SPEC, [worker("old"), worker("whole", "adam", "hf", "bhf")])
    with pytest.raises(InvalidInput) as caught:
        check_optimizers(SPEC, [worker("whole", "adam", "hf"), worker("part", "adam")])
    [error] = caught.value.errors
    assert (error.field, error.value) == ("optimizers.1.kind", "hf")
    assert "part" in error.limit
