"""A block's linear system (G_b + d I) x = -g, in the coordinates that conjugate gradient walks in."""

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
class Task:
    """What is to be solved: gradient g and start x (flat; zero unless `warm`), damping d, and vectors to reuse."""

    block: Block
    gradient: Tensor
    x: Tensor
    warm: bool
    damping: float
    vectors: "Vectors"


class Vectors:
    """Flat vectors kept from update to update, by what they are for."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._kept: dict[str, list[Tensor]] = {}

    def take(self, purpose: str, size: int, count: int, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Return `count` vectors of a length; their contents are whatever was left there."""
        kept = self._kept.get(purpose, [])
        if len(kept) != count or len(kept[0]) != size:
            kept = [self._like.new_empty(size, dtype=dtype) for _ in range(count)]
            self._kept[purpose] = kept
        return kept


class System(Operator, Protocol):
    """The system shifted to its start: A y = b, x = start + y.

    scale: g'g. model: phi at the start. eps: relative rounding of products. setup_flops, product_flops, finish_flops:
    operations of matrix products that were spent on setting up (the start included), on each product, on `finish`.
    steady: whether a product does the same to the same memory each time, so that it can be captured.
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
        """Add to x, flat in the block's parameters, what the coordinates y stand for."""
        ...

    def finish(self) -> None:
        """Add the solution y to the task's x."""
        ...


class FlatSystem(FlatInner):
    """The system in the parameters themselves, on any way of multiplying by G_b.

    product_flops is asked after the first product, so a way may count as it goes.
    """

    def __init__(
        self,
        task: Task,
        multiply: Product,
        flops: Callable[[], int],
        *,
        setup_flops: int = 0,
        eps: float | None = None,
        steady: bool = True,
    ) -> None:
        self._task, self._multiply, self._flops = task, multiply, flops
        self.b, self.y, *work = task.vectors.take("parameters", task.block.size, 5)
        self.work = (work[0], work[1], work[2])
        self.scale = self.inner(task.gradient, task.gradient)
        self.model = torch.zeros_like(self.scale)
        self.eps = eps or torch.finfo(task.x.dtype).eps
        self.setup_flops, self.finish_flops = setup_flops, 0
        self.steady = steady
        if task.warm:
            self.product(task.x, self.b)
            self.b.add_(task.gradient)
            self.model = (self.inner(self.b, task.x) + self.inner(task.gradient, task.x)) / 2
            self.b.neg_()
            self.setup_flops += self.product_flops
        else:
            torch.neg(task.gradient, out=self.b)

    @property
    def product_flops(self) -> int:
        """Operations of one product."""
        return self._flops()

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write (G_b + d I) v into out."""
        self._multiply(vector, out)
        if self._task.damping:
            out.add_(vector, alpha=self._task.damping)

    def add(self, y: Tensor, x: Tensor) -> None:
        """Add y to x."""
        x.add_(y)

    def finish(self) -> None:
        """Add the solution to the task's x."""
        self.add(self.y, self._task.x)
