"""A block's linear system (G_b + d I) x = -g, in the coordinates that conjugate gradient uses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.solver.cg import FlatInner, Operator

Product = Callable[[Tensor, Tensor], None]
"""v, out -> G_b v written into out, both flat in the block's parameters"""


@dataclass(frozen=True)
class BlockProblem:
    """What is to be solved: (G_b + d I) x = -g.

    Args:
        block: b, with P parameters.
        gradient: g, P numbers.
        x: the start, P numbers, zero unless `warm`; the system's `finish` adds the solution to it.
        warm: whether the start differs from zero.
        damping: d.
        vectors: memory to reuse.
    """

    block: Block
    gradient: Tensor
    x: Tensor
    warm: bool
    damping: float
    vectors: "Vectors"


class Vectors:
    """Flat vectors that are reused from update to update, by purpose."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._vectors: dict[str, list[Tensor]] = {}

    def take(self, purpose: str, size: int, count: int, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Return `count` vectors of a length; their contents are undefined."""
        found = self._vectors.get(purpose, [])
        if len(found) != count or len(found[0]) != size:
            found = [self._like.new_empty(size, dtype=dtype) for _ in range(count)]
            self._vectors[purpose] = found
        return found


class System(Operator, Protocol):
    """The system shifted to its start: A y = b, x = start + y.

    Attributes:
        b: right side, in coordinates.
        y: receives the solution, in coordinates.
        work: three vectors for conjugate gradient to overwrite.
        scale: g'g, float64.
        model: phi at the start, float64.
        eps: relative rounding of a product.
        setup_flops: operations of matrix products spent on set-up, the product with the start included.
        finish_flops: the same for `finish`.
        steady: whether each product does the same operations on the same memory, so that it can be captured.
    """

    b: Tensor
    y: Tensor
    work: tuple[Tensor, Tensor, Tensor]
    scale: Tensor
    model: Tensor
    eps: float
    setup_flops: int
    finish_flops: int
    steady: bool

    @property
    def product_flops(self) -> int:
        """Operations of one product."""
        ...

    def add(self, y: Tensor, x: Tensor) -> None:
        """Add to x, flat in the block's parameters, the parameter vector of the coordinates y."""
        ...

    def finish(self) -> None:
        """Add the solution y to the problem's x."""
        ...


class FlatSystem(FlatInner):
    """The system in the parameters themselves, with any product by G_b.

    Args:
        problem: what to solve.
        multiply: (v, out) -> None, writes G_b v.
        flops: operations of one product; called after the first product, so that they may be counted then.
        setup_flops: operations already spent on preparing `multiply`.
        eps: relative rounding of a product; None: that of the parameters' type.
        steady: see `System`.
    """

    def __init__(
        self,
        problem: BlockProblem,
        multiply: Product,
        flops: Callable[[], int],
        *,
        setup_flops: int = 0,
        eps: float | None = None,
        steady: bool = True,
    ) -> None:
        self._problem, self._multiply, self._flops = problem, multiply, flops
        self.b, self.y, *work = problem.vectors.take("parameters", problem.block.size, 5)
        self.work = (work[0], work[1], work[2])
        self.scale = self.inner(problem.gradient, problem.gradient)
        self.model = torch.zeros_like(self.scale)
        self.eps = eps or torch.finfo(problem.x.dtype).eps
        self.setup_flops, self.finish_flops = setup_flops, 0
        self.steady = steady
        if problem.warm:
            self.product(problem.x, self.b)
            self.b.add_(problem.gradient)
            self.model = (self.inner(self.b, problem.x) + self.inner(problem.gradient, problem.x)) / 2
            self.b.neg_()
            self.setup_flops += self.product_flops
        else:
            torch.neg(problem.gradient, out=self.b)

    @property
    def product_flops(self) -> int:
        """Operations of one product."""
        return self._flops()

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write (G_b + d I) v into out."""
        self._multiply(vector, out)
        if self._problem.damping:
            out.add_(vector, alpha=self._problem.damping)

    def add(self, y: Tensor, x: Tensor) -> None:
        """Add y to x."""
        x.add_(y)

    def finish(self) -> None:
        """Add the solution to the problem's x."""
        self.add(self.y, self._problem.x)
