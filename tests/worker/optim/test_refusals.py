"""What the optimizer refuses, and what it says of a module that no rule covers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.cases import make, optimizer, weights
from worker.optim import (
    BatchError,
    BlockHessianFree,
    HessianFree,
    ModelError,
    PartitionError,
    SoftmaxCrossEntropy,
    SquaredError,
)
from worker.optim.blocks import layer_names


def test_unknown_methods_are_refused() -> None:
    """An unknown method is an error that lists the known ones."""
    with pytest.raises(ValueError, match="product_method is 'faster': must be one of auto, products"):
        optimizer(make("autoencoder"), product_method="faster")


def test_uncovered_module_says_so() -> None:
    """Double backward names itself and what no rule covered; traced rules have nothing to say."""
    case = make("uncovered")
    block = optimizer(case).step(case.inputs, case.targets).blocks[0]
    assert block.product_method == "autograd"
    assert "Scaled" in block.note
    case = make("functional")
    assert optimizer(case).step(case.inputs, case.targets).blocks[0].note == ""


class Dropping(nn.Module):
    """Dropout that no module shows."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return nn.functional.dropout(self.dense(x), training=self.training)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), "'1' is BatchNorm1d in training mode"),
        (nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)), "'1' is active dropout"),
        (Dropping(), "draws random numbers"),
    ],
)
def test_models_without_a_gauss_newton_matrix_are_refused(model: nn.Module, says: str) -> None:
    """Batch statistics and dropout are refused before anything changes, and are fine in evaluation mode."""
    x = torch.rand(12, 6)
    before = weights(model)
    with pytest.raises(ModelError, match=says):
        HessianFree(model, SquaredError(), curvature_batch=8).step(x, x)
    assert torch.equal(weights(model), before)
    model.eval()
    HessianFree(model, SquaredError(), curvature_batch=8, damping=0.1).step(x, x)


def test_mode_changed_between_steps_is_noticed() -> None:
    """Dropout switched on after some steps is refused at the next."""
    x = torch.rand(12, 6)
    model = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)).eval()
    under_test = HessianFree(model, SquaredError(), curvature_batch=8, damping=0.1)
    under_test.step(x, x)
    model.train()
    with pytest.raises(ModelError, match="active dropout"):
        under_test.step(x, x)


class Unused(nn.Module):
    """Holds a parameter that the outputs do not depend on."""

    def __init__(self, *, covered: bool) -> None:
        super().__init__()
        self.covered = covered
        self.used, self.idle = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.used(x if self.covered else torch.sin(x))
        return result


@pytest.mark.parametrize("covered", [True, False])
def test_unreached_parameter_is_named(covered: bool) -> None:
    """A parameter that the loss does not reach is an error that names it."""
    x = torch.rand(12, 6)
    with pytest.raises(ModelError, match=r"'idle.weight' is not reached"):
        HessianFree(Unused(covered=covered), SquaredError(), curvature_batch=8).step(x, x)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"damping": -1.0}, "damping is -1.0"),
        ({"damping": math.nan}, "damping is nan"),
        ({"max_cg_iterations": 0}, "max_cg_iterations is 0"),
        ({"warm_start": 1.5}, "warm_start is 1.5"),
        ({"curvature_batch": 0}, "curvature_batch is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any], says: str) -> None:
    """An error names the setting, its value and the limit."""
    with pytest.raises(ValueError, match=says):
        optimizer(make("autoencoder"), **settings)


def test_batches_that_do_not_fit_are_refused() -> None:
    """Too few images, unequal numbers and wrong shapes are errors before anything changes."""
    case = make("autoencoder")
    before = weights(case.model)
    under_test = optimizer(case)
    with pytest.raises(BatchError, match="curvature_batch is 8"):
        under_test.step(case.inputs[:7], case.targets[:7])
    with pytest.raises(BatchError, match="12 inputs and 11 targets"):
        under_test.step(case.inputs, case.targets[:11])
    with pytest.raises(BatchError, match="needs equal shapes"):
        under_test.step(case.inputs, case.targets[:, :5])
    assert torch.equal(weights(case.model), before)


def test_partition_must_fit_the_model() -> None:
    """A layer left out is an error that names its parameter."""
    case = make("autoencoder")
    with pytest.raises(PartitionError, match=r"'1.2.weight' is in no block"):
        BlockHessianFree(case.model, case.loss, [["0.0", "0.2"], ["1.0"]], curvature_batch=8)


def test_a_state_of_other_blocks_is_refused() -> None:
    """Blocks in another order, or others, would get each other's solutions."""
    case = make("autoencoder")
    layers = [[name] for name in layer_names(case.model)]
    made = BlockHessianFree(case.model, case.loss, layers, curvature_batch=6)
    made.step(case.inputs, case.targets)
    for other in (layers[::-1], [layer_names(case.model)]):
        with pytest.raises(PartitionError, match="the state is of the blocks"):
            BlockHessianFree(case.model, case.loss, other, curvature_batch=6).load_state_dict(made.state_dict())


@pytest.mark.parametrize("method", ["auto", "autograd"])
def test_a_parameter_that_was_frozen_since_is_refused(method: str) -> None:
    """It is named; it was moved, or not found."""
    case = make("autoencoder")
    made = optimizer(case, product_method=method)
    made.step(case.inputs, case.targets)
    name, parameter = next(iter(case.model.named_parameters()))
    parameter.requires_grad_(False)
    with pytest.raises(ModelError, match=f"the parameter '{name}' was frozen after the optimizer was made"):
        made.step(case.inputs, case.targets)


class Attends(nn.Module):
    """A transformer's layer before a dense one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dense = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.dense(self.layer(x).flatten(1))
        return result


def test_attention_is_trained() -> None:
    """Its fused kernels cannot be differentiated twice, so others are taken."""
    torch.manual_seed(0)
    model, inputs, targets = Attends().double(), torch.rand(12, 3, 4, dtype=torch.float64), torch.arange(12) % 3
    made = HessianFree(model, SoftmaxCrossEntropy(), curvature_batch=6, learning_rate=0.5, damping=0.1)
    losses = [made.step(inputs, targets).loss for _ in range(8)]
    assert losses[-1] < 0.5 * losses[0]


class Called(nn.Module):
    """A function called in a form that its rule does not take."""

    def __init__(self, call: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.dense, self.call = nn.Linear(6, 6), call

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return self.call(self.dense(x), x)


CALLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alpha": lambda h, x: torch.add(h, x, alpha=2),
    "method": lambda h, x: h.add(x, alpha=0.5),
    "named": lambda h, x: torch.add(input=h, other=x),
    "relu": lambda h, _: torch.relu(input=h),
    "flatten": lambda h, _: torch.flatten(input=h, start_dim=1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_no_rule_knows_takes_double_backward(call: Callable[[Tensor, Tensor], Tensor]) -> None:
    """What a rule's maker does not take is not covered; double backward serves."""
    torch.manual_seed(0)
    model, inputs = Called(call).double(), torch.rand(12, 6, dtype=torch.float64)
    block = HessianFree(model, SquaredError(), curvature_batch=6, damping=0.1).step(inputs, inputs).blocks[0]
    assert block.product_method == "autograd"
    assert "does not know how it is called" in block.note
