"""A diagonal preconditioner for conjugate gradient."""

import torch
from torch import Tensor

EXPONENT = 0.75


class DiagonalPreconditioner:
    """M = (diag(s) + d I)^0.75, s = mean over S_c of the squared gradients of the single examples' losses.

    Where s + d is 0, or below the rounding of its largest entry, it is raised to that: a weight that no example changes
    gets a finite step.

    Args:
        squares: s, flat in the block's parameters (P numbers).
        damping: d.

    Source: Martens (2010), "Deep learning via Hessian-free optimization", section 4.7. There loss and s are sums over
        the examples; here both are means, so that s + d I relates to G + d I as it does there.
    """

    def __init__(self, squares: Tensor, damping: float) -> None:
        limits = torch.finfo(squares.dtype)
        diagonal = squares + damping
        least = (diagonal.max() * limits.eps).clamp_(min=limits.tiny)
        self._inverse = torch.maximum(diagonal, least).pow_(-EXPONENT)
        self._z = torch.empty_like(squares)

    def __call__(self, r: Tensor) -> Tensor:
        """Return M^-1 r (P numbers), in a buffer that the next call reuses."""
        return torch.mul(r, self._inverse, out=self._z)
