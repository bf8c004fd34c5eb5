"""A block's solve: its vectors, which are reused in every update, and its solution in the optimizer's state."""

from typing import Any

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature.systems import BlockProblem, Vectors
from worker.optim.solver.cg import FlatInner
from worker.optim.solver.cuda_graphs import Repeater


class BlockSolver(FlatInner):
    """A block with the vectors that its solves reuse."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.gradient, self.x = block.vector(), block.vector()
        self._vectors = Vectors(self.x)
        self.repeater = Repeater(self.x.device)

    def problem(self, damping: float, *, warm: bool) -> BlockProblem:
        """Return what is to be solved."""
        return BlockProblem(self.block, self.gradient, self.x, warm=warm, damping=damping, vectors=self._vectors)

    def squares(self) -> Tensor:
        """Return the vector for the preconditioner's diagonal."""
        (squares,) = self._vectors.take("squares", self.block.size, 1)
        return squares

    def load(self, state: Any, warm_start: float) -> bool:
        """Set x to warm_start times the stored solution; return whether there is one."""
        if warm_start == 0 or any("solution" not in state[p] for p in self.block.parameters):
            self.x.zero_()
            return False
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            torch.mul(state[p]["solution"], warm_start, out=x)
        return True

    def store(self, state: Any) -> None:
        """Store x as the solution, parameter by parameter."""
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            stored = state[p].setdefault("solution", torch.empty_like(p, memory_format=torch.contiguous_format))
            stored.copy_(x)
