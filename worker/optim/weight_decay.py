"""Weight decay: the penalty l |w|^2 / 2 of a block's weights, in loss, gradient and curvature."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.optim.block_solver import BlockSolver


def add_to_gradient(solvers: Sequence[BlockSolver], groups: Sequence[dict[str, Any]]) -> None:
    """Add l w to the gradient of each block.

    Args:
        solvers: with the blocks' gradients.
        groups: with l as "weight_decay", in the same order.
    """
    for solver, group in zip(solvers, groups, strict=True):
        if group["weight_decay"]:
            for p, g in solver.gradients():
                g.add_(p, alpha=float(group["weight_decay"]))


def penalty(solvers: Sequence[BlockSolver], groups: Sequence[dict[str, Any]]) -> float | Tensor:
    """Return the sum over the blocks of l |w|^2 / 2, a scalar; 0.0 where no block has weight decay.

    Args:
        solvers: with the blocks.
        groups: with l as "weight_decay", in the same order.
    """
    total: float | Tensor = 0.0
    for solver, group in zip(solvers, groups, strict=True):
        if group["weight_decay"]:
            squares = [p.detach().double().square().sum() for p in solver.block.parameters]
            total = total + torch.stack(squares).sum() * (float(group["weight_decay"]) / 2)
    return total
