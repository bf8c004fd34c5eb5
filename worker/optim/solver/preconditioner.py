"""A diagonal preconditioner for conjugate gradient."""

import torch
from torch import Tensor

EXPONENT = 0.75


class DiagonalPreconditioner:
    """M = (diag(s) + d I)^0.75, s = mean over S_c of the squared gradients of the single examples' losses.

    squares: s, flat in the block's parameters (P). `__call__` returns M^-1 r, in a buffer that the next call reuses.
    Source: Martens (2010), "Deep learning via Hessian-free optimization", section 4.7, where the loss is a sum over the
    examples and s one too; here both are means, so that s + d I is to G + d I as it is there. s is computed exactly,
    over the examples of G_b. Where s + d is 0, or lost beside its largest entry in rounding, it is raised to that: a
    weight that no example moves keeps a finite step.
    """

    def __init__(self, squares: Tensor, damping: float) -> None:
        limits = torch.finfo(squares.dtype)
        diagonal = squares + damping
        least = (diagonal.max() * limits.eps).clamp_(min=limits.tiny)
        self._inverse = torch.maximum(diagonal, least).pow_(-EXPONENT)
        self._z = torch.empty_like(squares)

    def __call__(self, r: Tensor) -> Tensor:
        """Return M^-1 r."""
        return torch.mul(r, self._inverse, out=self._z)
