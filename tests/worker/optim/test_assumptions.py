"""Tests of what is refused before the first update: outputs and losses that break what the method assumes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from worker.optim import BatchError, HessianFree, LossError, ModelError, SoftmaxCrossEntropy, SquaredError

METHODS = pytest.mark.parametrize("method", ["auto", "autograd"])


class Through(nn.Module):
    """A dense layer, and a function behind it."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.dense, self.function = nn.Linear(6, 4), function

    def forward(self, x: Tensor) -> Any:
        """Run both."""
        return self.function(self.dense(x))


def step(model: nn.Module, loss: Any, *, method: str = "auto", targets: Tensor | None = None) -> None:
    """Make the first update from 12 examples."""
    torch.manual_seed(0)
    x = torch.rand(12, 6)
    HessianFree(model, loss, curvature_batch=8, damping=0.1, product_method=method).step(
        x, x[:, :4] if targets is None else targets
    )


def refused(model: nn.Module, loss: Any, error: type[Exception], says: str, **settings: Any) -> None:
    """Expect an error that leaves the weights as they are."""
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(error, match=says):
        step(model, loss, **settings)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_functional_batch_normalization_is_refused() -> None:
    """A forward pass that mixes examples is an error; with statistics of its own it is fine."""
    mean, variance = torch.zeros(4), torch.ones(4)
    for training in (True, False):
        model = Through(lambda y, on=training: nn.functional.batch_norm(y, mean.clone(), variance.clone(), training=on))  # type: ignore[misc]
        if training:
            refused(model, SquaredError(), ModelError, "change with the other examples")
        else:
            step(model, SquaredError())


def test_other_couplings_are_refused() -> None:
    """Any dependence between examples is seen, not only that of a known operation."""
    refused(Through(lambda y: y - y.mean(0)), SquaredError(), ModelError, "change with the other examples")
    step(Through(lambda y: y - y.mean(1, keepdim=True)), SquaredError())


def test_normalization_within_an_example_is_fine() -> None:
    """Instance normalization uses statistics of one example, so it is not refused."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2), nn.Flatten())
    step(model, SquaredError())


@METHODS
@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda y: (y, y), "returned tuple: must be one tensor with 12 examples"),
        (lambda y: y.sum(), r"returned \[\]: must be one tensor with 12 examples"),
        (lambda y: torch.flatten(y, 0), r"returned \[48\]: must be one tensor with 12 examples"),
        (lambda y: y.view(-1, 2), r"returned \[24, 2\]: must be one tensor with 12 examples"),
    ],
)
def test_outputs_that_are_not_one_row_per_example_are_refused(method: str, function: Any, says: str) -> None:
    """The error names what came and what must come."""
    refused(Through(function), SquaredError(), BatchError, says, method=method)


@METHODS
def test_outputs_that_the_loss_cannot_take_are_refused(method: str) -> None:
    """The error names both shapes."""
    square = Through(lambda y: y.reshape(-1, 2, 2))
    refused(square, SquaredError(), BatchError, r"\[12, 2, 2\]|\[12, 4\]", method=method)
    refused(square, SoftmaxCrossEntropy(), BatchError, "needs logits", method=method, targets=torch.arange(12) % 4)


class Sine(SquaredError):
    """sum of sin(f): not convex."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return the mean over examples."""
        return outputs.sin().sum() / len(outputs)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return cos(f) / N."""
        return outputs.cos() / len(outputs)

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return -sin(f) v / N."""
        return -outputs.sin() * vectors / len(outputs)


class NotMean(SquaredError):
    """Gives one loss per example."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Forget the mean."""
        return (outputs - targets).square().sum(1)


class Summed(SquaredError):
    """Gives a gradient of one number per example."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Forget a dimension."""
        return super().gradient(outputs, targets).sum(1)


class Halved(SquaredError):
    """Gives products with half of the vectors' numbers."""

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """Lose numbers."""
        return super().hessian_product(outputs, targets, vectors)[..., :2]


@METHODS
@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (Sine(), "not convex in the outputs"),
        (NotMean(), r"value\(\) must return the mean"),
        (Summed(), r"gradient\(\) is \[12\]: must have the outputs' shape \[12, 4\]"),
        (Halved(), r"hessian_product\(\) is .* must have the vectors' shape"),
    ],
)
def test_losses_that_break_the_method_are_refused(loss: Any, says: str, method: str) -> None:
    """Negative curvature on a probe, and methods of the wrong shape, are errors that say what must hold."""
    refused(nn.Linear(6, 4), loss, LossError, says, method=method)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3, 1e30])
def test_saturated_cross_entropy_counts_as_convex(scale: float) -> None:
    """Rounding of a curvature that has vanished is no negative curvature."""
    model = nn.Linear(6, 4)
    nn.init.constant_(model.bias, 0.0)
    with torch.no_grad():
        model.weight.mul_(scale)
    step(model, SoftmaxCrossEntropy(), targets=torch.arange(12) % 4)


def test_a_square_root_under_its_old_name_is_refused() -> None:
    """A loss that still has root() would lose the fast methods without notice."""
    loss, names = SquaredError(), ("value", "gradient", "hessian_product")
    old = type("Old", (), {name: getattr(loss, name) for name in names} | {"root": loss.hessian_square_root})
    refused(nn.Linear(6, 4), old(), LossError, "hessian_square_root")


class Unscaled(SquaredError):
    """A Hessian without 1/N, in product and square root alike."""

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """Forget the mean."""
        return super().hessian_product(outputs, targets, vectors) * len(outputs)

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Forget the mean."""
        return super().hessian_square_root(outputs, targets) * math.sqrt(len(outputs))


class Ascending(SquaredError):
    """A gradient of the wrong sign."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Turn it."""
        return -super().gradient(outputs, targets)


class Total(Unscaled):
    """A sum in all methods."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over the examples."""
        return super().value(outputs, targets) * len(outputs)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over the examples."""
        return super().gradient(outputs, targets) * len(outputs)


class HalfRoot(SquaredError):
    """A square root of a quarter of the Hessian."""

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return half of it."""
        return super().hessian_square_root(outputs, targets) / 2


@METHODS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (Unscaled(), r"hessian_product\(\).* 12 times"),
        (Ascending(), r"gradient\(\).* -1 times"),
        (Total(), r"value\(\) is 2 times"),
        (HalfRoot(), r"hessian_square_root\(\).* 0.25 times"),
    ],
)
def test_methods_that_do_not_fit_each_other_are_refused(loss: Any, says: str, dtype: torch.dtype, method: str) -> None:
    """The error has the factor, before any weight changes."""
    torch.manual_seed(0)
    model, x = nn.Linear(6, 4, dtype=dtype), torch.rand(12, 6, dtype=dtype)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(LossError, match=says):
        HessianFree(model, loss, curvature_batch=8, damping=0.1, product_method=method).step(x, x[:, :4])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


class Weighted(SquaredError):
    """(f - t)'P(f - t) with a float32 matrix P."""

    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean."""
        return (((outputs - targets) @ self.matrix) * (outputs - targets)).sum() / len(outputs)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 2 P (f - t) / N."""
        return 2 * (outputs - targets) @ self.matrix / len(outputs)

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return 2 P v / N."""
        return 2 * vectors @ self.matrix / len(outputs)


@METHODS
def test_a_loss_is_called_in_the_models_precision(method: str) -> None:
    """Its constants need not be in another one."""
    names = ("value", "gradient", "hessian_product")
    step(nn.Linear(6, 4), type("Own", (), {name: staticmethod(getattr(Weighted(), name)) for name in names})(),
         method=method)  # fmt: skip
