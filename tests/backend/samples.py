"""Small valid things of the contract, to vary in tests."""

from dataclasses import dataclass
from typing import Any

from backend.schemas.catalog import Catalog, DataSet, Layer, ProblemInfo, WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.measures import BlockStats, StopReason, Update
from backend.schemas.optimizers import Adam, BlockHessianFree
from backend.schemas.runs import Checkpoint

INFO = WorkerInfo(name="tester", device="cpu", threads=1)
LAYERS = ["encoder.0", "encoder.2", "decoder.0", "decoder.2"]
OPTIONS = {
    "type": "object",
    "properties": {
        "hidden": {"type": "integer", "default": 6, "minimum": 1, "maximum": 10**10},
        "code": {"type": "integer", "default": 2, "minimum": 1, "maximum": 8},
        "output": {"enum": ["linear", "sigmoid"], "default": "linear"},
    },
}


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def dense(name: str, inputs: int | str, outputs: int | str) -> Layer:
    """Describe a dense layer."""
    return Layer(name=name, parameters={"weight": [outputs, inputs], "bias": [outputs]})


def spec(**changes: Any) -> ExperimentSpec:
    """Make a small valid comparison: Adam and BHF on ten images of tiny."""
    document = {
        "name": "sample",
        "problem": {"name": "squeeze", "data": "tiny"},
        "optimizers": [Adam(gradient_batch=10), BlockHessianFree(gradient_batch=10, curvature_batch=5)],
        "evaluation": {"train_subset": 20},
        "budget": {"updates": 5},
    }
    return ExperimentSpec.model_validate(document | changes)


def catalog(**changes: Any) -> Catalog:
    """Make a catalog with one autoencoder of four layers (30, 14, 18, 28 parameters by default) and two data sets."""
    layers = [
        dense("encoder.0", "inputs", "hidden"),
        dense("encoder.2", "hidden", "code"),
        dense("decoder.0", "code", "hidden"),
        dense("decoder.2", "hidden", "inputs"),
    ]
    document = {
        "name": "squeeze",
        "title": "Squeeze",
        "summary": "A small autoencoder.",
        "options": OPTIONS,
        "layers": layers,
        "partition": [LAYERS[:2], LAYERS[2:]],
        "data": ["tiny"],
        "accuracy": False,
        "loss_unit": "squared error",
        "preset": spec(),
    }
    data = {"title": "Tiny", "train_size": 100, "test_size": 20, "shape": [1, 2, 2], "classes": 2, "embedded": True}
    return Catalog(
        problems=[ProblemInfo.model_validate(document | changes)],
        data=[DataSet.model_validate(data | {"name": name}) for name in ("tiny", "other")],
    )


def update(number: int, **changes: Any) -> Update:
    """Make an update whose values follow from its number."""
    values: dict[str, Any] = {
        "update": number,
        "epoch": number / 10,
        "samples": number * 10,
        "seconds": number * 0.5,
        "cost": number * 2.0,
        "batch_loss": 100.0 / number,
        "train_loss": 90.0 / number,
        "test_loss": 95.0 / number,
        "gradient_norm": 1.0,
        "step_norm": 0.1,
        "cpu_seconds": number * 0.75,
        "gradient_seconds": 0.125,
        "curvature_seconds": 0.25,
        "evaluation_seconds": 0.0625,
        "scale": 0.5,
        "reduction_ratio": 0.75,
        "loss_decrease": 3.0 / number,
        "blocks": [block(number), block(number + 1)],
    }
    return Update(**values | changes)


def block(iterations: int, **changes: Any) -> BlockStats:
    """Make one block's conjugate gradient."""
    values: dict[str, Any] = {"stop_reason": StopReason.ITERATIONS, "residual": 0.5, "model_decrease": 1.5}
    return BlockStats(cg_iterations=iterations, **values | changes)


def checkpoint(number: int) -> Checkpoint:
    """Name a checkpoint of an update."""
    return Checkpoint(update=number, sha256=f"{number:064x}")


def updates(first: int, last: int) -> list[Update]:
    """Make consecutive updates, both ends included."""
    return [update(number) for number in range(first, last + 1)]
