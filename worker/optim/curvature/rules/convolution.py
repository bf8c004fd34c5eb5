"""Convolutions over any number of dimensions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from worker.optim.curvature.rules.base import NotCovered, Rule, Weights, covers

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Geometry:
    """Stride, padding, dilation and groups of a convolution, the first three per dimension of its space."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x * W + b."""
        none = [0] * len(self.stride)
        return torch.convolution(x, weight, bias, self.stride, self.padding, self.dilation, False, none, self.groups)

    def spread(self, cotangent: Tensor, weight: Tensor, size: Sequence[int]) -> Tensor:
        """Return the cotangent of x, whose places are `size`, without x itself: a stack would need one per vector."""
        extent = zip(size, cotangent.shape[2:], weight.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        left = [n - ((m - 1) * stride - 2 * pad + gap * (k - 1) + 1) for n, m, k, stride, pad, gap in extent]
        return torch.convolution(
            cotangent, weight, None, self.stride, self.padding, self.dilation, True, left, self.groups
        )  # fmt: skip

    def transpose(
        self, cotangent: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the cotangents of x, W and b that are wanted."""
        parts: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
            cotangent, x, weight, [len(weight)], self.stride, self.padding, self.dilation, False,
            [0] * len(self.stride), self.groups, wanted,
        )  # fmt: skip
        return parts


@dataclass
class ConvolutionRule(Rule):
    """y' = x' * W + x * W' + b'. x: N x in x space, W: out x in / groups x kernel.

    y has the memory format of x.
    """

    x: Tensor
    weight: Tensor
    geometry: Geometry
    outputs: torch.Size
    """shape of one example's y"""

    @property
    def flops(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count a multiplication and an addition per weight and place."""
        return 2 * len(self.x) * math.prod(self.outputs[1:]) * self.weight.numel()

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:
        """Return x' * W + x * W' + b'."""
        (x,) = inputs
        result = None if x is None else self._over(x)
        if "weight" in weights:
            own = self.geometry.convolve(self.x, weights["weight"], weights.get("bias"))
            return own if result is None else result.add_(own)
        if "bias" in weights:
            bias = weights["bias"].view(-1, *[1] * (len(self.outputs) - 1))
            return bias.expand(len(self.x), *self.outputs) if result is None else result.add_(bias)
        assert result is not None
        return result

    def _over(self, x: Tensor) -> Tensor:
        if x.dim() == self.x.dim():
            return self.geometry.convolve(x, self.weight)
        return torch.unflatten(self.geometry.convolve(x.flatten(0, 1), self.weight), 0, x.shape[:2])

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:
        """Write the cotangents of W and b; return that of x."""
        if cotangent.dim() > self.x.dim():
            if not needs[0]:
                return (None,)
            flat = self.geometry.spread(cotangent.flatten(0, 1), self.weight, self.x.shape[2:])
            return (torch.unflatten(flat, 0, cotangent.shape[:2]),)
        wanted = (needs[0], "weight" in weights, "bias" in weights)
        x, weight, bias = self.geometry.transpose(cotangent, self.x, self.weight, wanted)
        for name, part in (("weight", weight), ("bias", bias)):
            if part is not None and name in weights:
                weights[name].copy_(part)
        return (x,)

    def squares(self, cotangent: Tensor, weights: Weights) -> None:
        """Square each example's cotangents and sum: as one convolution with a group of channels per example."""
        count, kernel = len(self.x), self.weight
        if "weight" in weights:
            channels = self.x.reshape(1, -1, *self.x.shape[2:])
            grouped = replace(self.geometry, groups=count * self.geometry.groups)
            like = kernel.new_empty(count * len(kernel), *kernel.shape[1:])
            places = cotangent.reshape(1, -1, *cotangent.shape[2:])
            _, rows, _ = grouped.transpose(places, channels, like, (False, True, False))
            assert rows is not None
            torch.sum(rows.view(count, *kernel.shape).square(), 0, out=weights["weight"])
        if "bias" in weights:
            torch.sum(cotangent.flatten(2).sum(2).square(), 0, out=weights["bias"])

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, x=self.x[:count])


@covers(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def convolution(module: Convolution, x: Tensor) -> tuple[Tensor, Rule]:
    """Apply a convolution with zero padding: y = x * W + b.

    Args:
        module: W (out x in / groups x kernel) and b (out).
        x: N x in x space.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    geometry = Geometry(module.stride, _padding(module), module.dilation, module.groups)
    y = module(x)
    if x.dim() != module.weight.dim():
        raise NotCovered(f"{module} is given one example without a batch")
    return y, ConvolutionRule(x, module.weight.detach(), geometry, y.shape[1:])


def _padding(module: Convolution) -> tuple[int, ...]:
    if module.padding_mode != "zeros":
        raise NotCovered(f"{module} pads with {module.padding_mode}")
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    if not isinstance(module.padding, str):
        return module.padding
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if any(r % 2 for r in reach):
        raise NotCovered(f"{module} pads unevenly")
    return tuple(r // 2 for r in reach)
