"""Backtracking over conjugate gradient's iterates: the quadratic model prefers the last one, the loss may not."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

SPACING = 1.3


@dataclass(frozen=True)
class Iterate:
    """x after a number of iterations, flat in the block's parameters, with its quadratic model phi(x)."""

    iteration: int
    x: Tensor
    model: float


class Iterates:
    """A block's iterates i = ceil(1.3^j), j = 0, 1, .., and its last one. Each takes the memory of one block vector.

    Args:
        start: where the solve began, P numbers; not changed before `end`.
        add: (y, x) -> None, adds to x the parameter vector of the solver's coordinates y.

    Source: Martens (2010), "Deep learning via Hessian-free optimization", section 4.6.
    """

    def __init__(self, start: Tensor, add: Callable[[Tensor, Tensor], None]) -> None:
        self._start, self._add = start, add
        self._next, self._power = 1, 0
        self.collected: list[Iterate] = []

    def collect(self, iteration: int, y: Tensor, model: float) -> None:
        """Store the iterate if it is one of the spaced ones."""
        if iteration < self._next:
            return
        x = self._start.clone()
        self._add(y, x)
        self.collected.append(Iterate(iteration, x, model))
        while self._next <= iteration:
            self._power += 1
            self._next = math.ceil(SPACING**self._power)

    def end(self, iteration: int, x: Tensor, model: float) -> None:
        """Store the last iterate, whatever its number."""
        if self.collected and self.collected[-1].iteration >= iteration:
            self.collected.pop()
        self.collected.append(Iterate(iteration, x.clone(), model))

    def at(self, iteration: int) -> Iterate:
        """Return the last collected iterate that a limit of `iteration` would have reached, or the first."""
        return next((c for c in reversed(self.collected) if c.iteration <= iteration), self.collected[0])


def backtrack(iterations: Sequence[int], loss: Callable[[int], float]) -> tuple[int, float]:
    """Go back from the last iteration while the loss falls.

    Args:
        iterations: ascending, at least one.
        loss: i -> f(w + lr x_i) over S_g, every block at its iterate i; infinite where it is not finite.

    Returns:
        The iteration where it stopped, and the loss there.

    Source: Martens (2010), section 4.6: an earlier iterate is used only if it is better than the next.
    """
    *earlier, best = iterations
    lowest = loss(best)
    for iteration in reversed(earlier):
        found = loss(iteration)
        if math.isfinite(lowest) and found >= lowest:
            break
        best, lowest = iteration, found
    return best, lowest
