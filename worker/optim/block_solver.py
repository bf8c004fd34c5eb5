"""A block's solve: its vectors, which are reused in every update, and its solution in the optimizer's state."""

from typing import Any

import torch
from torch import Tensor, nn

from worker.optim.blocks import Block
from worker.optim.curvature.systems import BlockProblem, Vectors
from worker.optim.solver.cg import FlatInner
from worker.optim.solver.cuda_graphs import Repeater


class BlockSolver(FlatInner):
    """A block with the vectors that its solves reuse.

    Args:
        block: b, with P parameters.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.gradient, self.x = block.vector(), block.vector()
        self._vectors = Vectors(self.x)
        self.repeater = Repeater(self.x.device)

    def fits(self) -> bool:
        """Whether the vectors have the type and device of the parameters, which may have been converted or moved."""
        return all(p.dtype == self.x.dtype and p.device == self.x.device for p in self.block.parameters)

    def gradients(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Return each parameter with its part of the gradient, a view."""
        return list(zip(self.block.parameters, self.block.views(self.gradient).values(), strict=True))

    def problem(self, damping: float, *, warm: bool) -> BlockProblem:
        """Return what is to be solved."""
        return BlockProblem(self.block, self.gradient, self.x, warm=warm, damping=damping, vectors=self._vectors)

    def squares(self) -> Tensor:
        """Return the vector for the preconditioner's diagonal."""
        (squares,) = self._vectors.take("squares", self.block.size, 1)
        return squares

    def load(self, state: Any, warm_start: float) -> bool:
        """Set x to the start of the solve.

        Args:
            state: the optimizer's state, which has the last solution of each parameter, where there is one.
            warm_start: fraction of that solution.

        Returns:
            Whether x differs from zero.
        """
        if warm_start == 0 or any("solution" not in state[p] for p in self.block.parameters):
            self.x.zero_()
            return False
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            torch.mul(state[p]["solution"].to(x), warm_start, out=x)
        return True

    def store(self, state: Any) -> None:
        """Store x as the solution, parameter by parameter.

        Args:
            state: the optimizer's state.
        """
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            stored = state[p].get("solution")
            if stored is None or stored.dtype != x.dtype or stored.device != x.device:
                stored = state[p]["solution"] = torch.empty_like(p, memory_format=torch.contiguous_format)
            stored.copy_(x)
