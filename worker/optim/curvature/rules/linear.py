"""The dense layer y = x W' + b."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from worker.optim.curvature.rules.base import Rule, Weights, covers


@dataclass
class LinearRule(Rule):
    """y' = x' W' + x (W')' + b'. x: N x in, or N x ... x in; W: out x in."""

    x: Tensor
    weight: Tensor
    has_rows: ClassVar[bool] = True

    @property
    def flops(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count a multiplication and an addition per weight and row."""
        return 2 * (self.x.numel() // self.weight.shape[1]) * self.weight.numel()

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:
        """Return x' W' + x (W')' + b'."""
        (x,) = inputs
        result = None if x is None else x @ self.weight.t()
        if "weight" in weights:
            result = _plus_product(result, self.x, weights["weight"].t())
        if "bias" in weights:
            bias = weights["bias"]
            shape = (*self.x.shape[:-1], len(bias))
            result = bias.expand(shape) if result is None else result.add_(bias)
        assert result is not None
        return result

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:
        """Write y'x and the sum of y' into the weights' cotangents; return y' W."""
        if weights:
            rows = cotangent.reshape(-1, cotangent.shape[-1])
            if "weight" in weights:
                torch.mm(rows.t(), self.x.reshape(-1, self.x.shape[-1]), out=weights["weight"])
            if "bias" in weights:
                torch.sum(rows, 0, out=weights["bias"])
        return (cotangent @ self.weight if needs[0] else None,)

    def rows(self, cotangent: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return y'x and y' example by example, summed over the dimensions between."""
        y = cotangent.flatten(2, -2) if cotangent.dim() > 3 else cotangent.unsqueeze(2)
        x = self.x.flatten(1, -2) if self.x.dim() > 2 else self.x.unsqueeze(1)
        made = {"weight": lambda: y.transpose(2, 3) @ x, "bias": lambda: y.sum(2)}
        return {name: made[name]() for name in names}

    def squares(self, cotangent: Tensor, weights: Weights) -> None:
        """Write (y^2)'x^2 and the sum of y^2: the square of a product is the product of the squares."""
        if self.x.dim() > 2:
            super().squares(cotangent, weights)
            return
        square = cotangent.square()
        if "weight" in weights:
            torch.mm(square.t(), self.x.square(), out=weights["weight"])
        if "bias" in weights:
            torch.sum(square, 0, out=weights["bias"])

    @property
    def row_flops(self) -> int:
        """Operations of `rows` for one vector."""
        return self.flops

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, x=self.x[:count])


def _plus_product(total: Tensor | None, x: Tensor, weight: Tensor) -> Tensor:
    if total is None:
        return x @ weight
    if total.dim() == 2:
        return torch.addmm(total, x, weight, out=total)
    return total.add_(x @ weight)


@covers(nn.Linear)
def linear(module: nn.Linear, x: Tensor) -> tuple[Tensor, Rule]:
    """Apply a dense layer: y = x W' + b.

    Args:
        module: W (out x in) and b (out).
        x: N x in, or N x ... x in.

    Returns:
        y, and the rule at x.
    """
    return module(x), LinearRule(x, module.weight.detach())
