"""How much of a solved step is taken: backtracking, the reduction ratio and the line search, in this order."""

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
"""how far a mean loss is taken to be off, in units of its last place"""


@dataclass
class Part:
    """A block's share of the step: lr x, with x and the gradient g flat, and what the block's solve knows of x.

    model: phi(x) = x'(G_b + d I) x / 2 + g'x.
    """

    block: Block
    x: Tensor
    gradient: Tensor
    lr: float
    damping: float
    model: float
    iterates: Iterates | None

    def take(self, iteration: int) -> None:
        """Overwrite x with the iterate that a limit of `iteration` would have given, where iterates were kept."""
        if self.iterates is not None:
            found = self.iterates.at(iteration)
            self.x.copy_(found.x)
            self.model = found.model

    def slope(self) -> float:
        """Return lr g'x."""
        return self.lr * FlatInner().inner(self.gradient, self.x).item()

    def decrease(self) -> float:
        """Return q(lr x) = lr g'x + lr^2 x'G_b x / 2, without a product: phi(x) holds x'G_b x."""
        slope = FlatInner().inner(self.gradient, self.x).item()
        half = self.model - slope - self.damping / 2 * FlatInner().inner(self.x, self.x).item()
        return self.lr * slope + self.lr**2 * half


@dataclass(frozen=True)
class Acceptance:
    """What was decided: the scale of the step, rho, the iteration gone back to, and how many losses it took."""

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
    """Choose the iterates, left in the parts' x, and the scale; the weights are as they were, bit for bit.

    evaluate: the mean loss over S_g at the present weights. start: the loss before the step. Every block goes back to
    the same iteration, or stays at its last if that came before: as if the limit had been that.
    """
    trials = _Trials(parts, evaluate)
    rounding = ROUNDING * torch.finfo(parts[0].x.dtype).eps * abs(start)
    iteration, loss = None, None
    if backtracking:
        kept = sorted({k.iteration for part in parts if part.iterates for k in part.iterates.kept})
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
            for p, view in zip(part.block.parameters, part.block.views(part.x).values(), strict=True):
                p.add_(view, alpha=part.lr * scale)
        try:
            value = self._evaluate().item()
        finally:
            torch._foreach_copy_(self._weights, self._before)
        return value if math.isfinite(value) else math.inf
