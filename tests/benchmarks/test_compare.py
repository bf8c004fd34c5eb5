"""The optimizers compared on a smaller network with smaller batches."""

import pytest

from backend.schemas.experiments import Problem
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from tests.benchmarks.compare import curves

SMALL = Problem(options={"hidden_1": 200, "hidden_2": 100, "hidden_3": 50, "code": 20}, train_size=4000, test_size=100)
OPTIMIZERS: dict[str, Optimizer] = {
    "BHF": BlockHessianFree(gradient_batch=400, curvature_batch=100),
    "HF": HessianFree(gradient_batch=400, curvature_batch=100),
    "Adam": Adam(gradient_batch=400),
}


@pytest.mark.long
def test_second_order_is_far_below_adam_after_30_updates() -> None:
    """On real digits, after 30 updates, HF and BHF have at most 0.75 of Adam's train error."""
    last = {
        name: curves(optimizer, name=name, seeds=1, updates=30, threads=1, problem=SMALL)[0].values[-1]
        for name, optimizer in OPTIMIZERS.items()
    }
    assert last["HF"] < 0.75 * last["Adam"]
    assert last["BHF"] < 0.75 * last["Adam"]
