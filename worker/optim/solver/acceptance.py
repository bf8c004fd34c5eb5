"""How much of a solved step is used: backtracking, the reduction ratio and the line search, in this order."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.solver.backtracking import Iterates, backtrack
from worker.optim.solver.cg import FlatInner
from worker.optim.solver.damping import reduction_ratio
from worker.optim.solver.line_search import armijo

ROUNDING = 4
"""assumed rounding error of a mean loss [units of its last place]"""


@dataclass
class Part:
    """A block's part of the step, learning_rate x.

    Args:
        block: b, with P parameters.
        x: the solution, P numbers.
        gradient: g, P numbers.
        learning_rate: fraction of x that the step is.
        damping: d.
        model: phi(x) = x'(G_b + d I) x / 2 + g'x.
        iterates: the iterates to go back to; None: backtracking is off.
        max_norm: limit of the norm of the step; None: no limit.
    """

    block: Block
    x: Tensor
    gradient: Tensor
    learning_rate: float
    damping: float
    model: float
    iterates: Iterates | None
    max_norm: float | None = None

    @property
    def rate(self) -> float:
        """The fraction of x that the step is, within the limit of its norm."""
        if self.max_norm is None:
            return self.learning_rate
        norm = FlatInner().inner(self.x, self.x).sqrt().item()
        return min(float(self.learning_rate), float(self.max_norm) / norm) if norm else self.learning_rate

    def take(self, iteration: int) -> None:
        """Overwrite x with the iterate that a limit of `iteration` would have given, where iterates were collected."""
        if self.iterates is not None:
            found = self.iterates.at(iteration)
            self.x.copy_(found.x)
            self.model = found.model

    def slope(self) -> float:
        """Return lr g'x."""
        return self.rate * FlatInner().inner(self.gradient, self.x).item()

    def decrease(self) -> float:
        """Return q(lr x) = lr g'x + lr^2 x'G_b x / 2, without a product: phi(x) holds x'G_b x."""
        slope = FlatInner().inner(self.gradient, self.x).item()
        half = self.model - slope - self.damping / 2 * FlatInner().inner(self.x, self.x).item()
        return self.rate * slope + self.rate**2 * half


@dataclass(frozen=True)
class Acceptance:
    """The decision: the scale of the step, rho, the iteration gone back to, and the number of losses computed."""

    scale: float = 1.0
    ratio: float | None = None
    iteration: int | None = None
    evaluations: int = 0


def accept(
    parts: Sequence[Part],
    evaluate: Callable[[], Tensor],
    *,
    start: float,
    backtracking: bool,
    adaptive_damping: bool,
    line_search: bool,
) -> Acceptance:
    """Choose the iterates, written into the parts' x, and the scale. The weights are restored bit for bit.

    Every block goes back to the same iteration, or stays at its last one if that came before: as if the limit of
    iterations had been that.

    Args:
        parts: every block's part of the step.
        evaluate: () -> the mean loss over S_g at the present weights, a scalar.
        start: the loss before the step.
        backtracking: whether to go back over the iterates.
        adaptive_damping: whether to compute rho.
        line_search: whether to shrink the step.
    """
    trials = _Trials(parts, evaluate)
    rounding = ROUNDING * torch.finfo(parts[0].x.dtype).eps * abs(start)
    iteration, loss = None, None
    if backtracking:
        kept = sorted({k.iteration for part in parts if part.iterates for k in part.iterates.collected})
        iteration, loss = backtrack(kept, trials.at)
        for part in parts:
            part.take(iteration)
    rho = None
    if adaptive_damping:
        loss = trials.scaled(1.0) if loss is None else loss
        rho = reduction_ratio(loss - start, sum(part.decrease() for part in parts), rounding=rounding)
    scale = 1.0
    if line_search:
        slope = sum(part.slope() for part in parts)
        scale = armijo(trials.scaled, start=start, slope=slope, first=loss, rounding=rounding)
    return Acceptance(scale, rho, iteration, trials.count)


class _Trials:
    """Losses at steps that have not been taken."""

    def __init__(self, parts: Sequence[Part], evaluate: Callable[[], Tensor]) -> None:
        self._parts, self._evaluate = parts, evaluate
        self._weights: list[Tensor] = [p for part in parts for p in part.block.parameters]
        self._before = [p.clone() for p in self._weights]
        self.count = 0

    def at(self, iteration: int) -> float:
        """Return the loss with every block at this iteration."""
        for part in self._parts:
            part.take(iteration)
        return self.scaled(1.0)

    def scaled(self, scale: float) -> float:
        """Return the loss at w + scale lr x; infinity where it is not finite."""
        self.count += 1
        for part in self._parts:
            rate = part.rate
            for p, view in zip(part.block.parameters, part.block.views(part.x).values(), strict=True):
                p.add_(view, alpha=rate * scale)
        try:
            value = self._evaluate().item()
        finally:
            torch._foreach_copy_(self._weights, self._before)
        return value if math.isfinite(value) else math.inf
