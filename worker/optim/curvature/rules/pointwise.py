"""Pointwise activations: y' = phi'(x) x', with phi'(x) stored."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.optim.curvature.rules.base import NotCovered, Rule, Weights, covers


@dataclass
class PointwiseRule(Rule):
    """y' = d * x', d = phi'(x) in the shape of x."""

    d: Tensor

    @property
    def points(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count d."""
        return self.d.numel()

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return d x'."""
        (x,) = inputs
        assert x is not None
        return x * self.d

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return d y'."""
        return (cotangent * self.d,)

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, d=self.d[:count])


@dataclass
class RectifierRule(Rule):
    """y' = x' where y > 0. Stores y, which the next layer stores too: no additional memory."""

    y: Tensor

    @property
    def points(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count y."""
        return self.y.numel()

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return x' where y > 0, else 0."""
        (x,) = inputs
        assert x is not None
        return self._passed(x)

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return y' where y > 0, else 0."""
        return (self._passed(cotangent),)

    def _passed(self, vector: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.threshold_backward(vector, self.y, 0)
        return result

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, y=self.y[:count])


@dataclass
class IdentityRule(Rule):
    """y' = x'."""

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return x'."""
        (x,) = inputs
        assert x is not None
        return x

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return y'."""
        return (cotangent,)

    def narrow(self, count: int) -> Self:  # noqa: ARG002 - holds nothing
        """Return itself."""
        return self


@covers(nn.Identity, nn.Dropout)
def identity(module: nn.Module, x: Tensor) -> tuple[Tensor, Rule]:
    """Return x as it is. Dropout has this rule only where it is inactive.

    Args:
        module: identity or inactive dropout.
        x: N x ...

    Returns:
        y, and the rule at x.
    """
    return module(x), IdentityRule()


def _apply(function: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Rule]:
    if kwargs.pop("inplace", False):
        raise NotCovered("an activation writes over its input")
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        y = function(leaf, *args, **kwargs)
    (d,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
    return y.detach(), PointwiseRule(d)


@covers(
    nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU6,
    nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink,
)  # fmt: skip
def activation(module: nn.Module, x: Tensor) -> tuple[Tensor, Rule]:
    """Apply an activation module; automatic differentiation computes phi' once.

    Args:
        module: the activation.
        x: N x ...

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    if getattr(module, "inplace", False):
        raise NotCovered(f"{module} writes over its input")
    return _apply(module, x)


@covers(nn.ReLU)
def rectifier(module: nn.ReLU, x: Tensor) -> tuple[Tensor, Rule]:
    """Apply a rectifier module.

    Args:
        module: the rectifier.
        x: N x ...

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    return rectify(x, inplace=module.inplace)


@covers(torch.relu, functional.relu, "relu")
def rectify(x: Tensor, inplace: bool = False) -> tuple[Tensor, Rule]:
    """Apply a rectifier: y = max(x, 0).

    Args:
        x: N x ...
        inplace: whether y overwrites x, which is not supported.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    if inplace:
        raise NotCovered("an activation writes over its input")
    y = torch.relu(x)
    return y, RectifierRule(y)


def _enter(*functions: Callable[..., Tensor]) -> None:
    for function in functions:
        covers(function)(partial(_apply, function))


_enter(torch.tanh, torch.sigmoid, functional.tanh, functional.sigmoid)
_enter(functional.elu, functional.gelu, functional.leaky_relu, functional.selu, functional.silu, functional.softplus)
covers("tanh")(partial(_apply, torch.tanh))
covers("sigmoid")(partial(_apply, torch.sigmoid))
