"""Damping per block, and the Levenberg-Marquardt rule that adapts it to how far the quadratic model can be trusted."""

import math
from collections.abc import Sequence

from worker.optim.errors import PartitionError

LOW, HIGH = 1 / 4, 3 / 4
FACTOR = 3 / 2
LEAST, MOST = 1e-12, 1e12
"""bounds of the adapted damping, so that it neither vanishes nor overflows [loss per weight squared]"""


def per_block(damping: float | Sequence[float], count: int) -> list[float]:
    """Return the damping of each block.

    Args:
        damping: one number, or one for each block, at least 0 [loss per weight squared].
        count: number of the blocks.

    Raises:
        PartitionError: the number of values differs from that of the blocks.
        ValueError: a value is below 0 or not finite.
    """
    values = [float(v) for v in (damping if isinstance(damping, Sequence) else [damping] * count)]
    if len(values) != count:
        raise PartitionError(f"damping has {len(values)} values: must be one number, or {count}, one per block")
    for value in values:
        if not 0 <= value < math.inf:
            raise ValueError(f"damping is {value!r}: must be at least 0 and finite")
    return values


def check_adaptive(damping: float, *, adaptive: bool) -> None:
    """Raise ValueError where the damping is to adapt and is 0."""
    if adaptive and damping == 0:
        raise ValueError("damping is 0: adaptive damping multiplies it, so it must be positive")


def reduction_ratio(actual: float, predicted: float, *, rounding: float = 0.0) -> float | None:
    """Return rho = (f(w + p) - f(w)) / (q(p) - q(0)), with q(p) = sum over blocks of g_b'p_b + p_b'G_b p_b / 2.

    Args:
        actual: f(w + p) - f(w), f the mean loss over S_g and p the step before any line search.
        predicted: q(p) - q(0), without the damping.
        rounding: rounding error of f.

    Returns:
        rho; minus infinity where `actual` is not finite; None where q predicts no decrease beyond rounding.

    Source: Martens (2010), "Deep learning via Hessian-free optimization", section 4.1.
    """
    if not predicted < -rounding:
        return None
    return actual / predicted if math.isfinite(actual) else -math.inf


def adapted(damping: float, ratio: float | None) -> float:
    """Return d for the next update: 3/2 d where rho < 1/4, 2/3 d where rho > 3/4, else d.

    All blocks use the same rho, as they share one loss; each block's d is multiplied.

    Source: Martens (2010), section 4.1, from Nocedal and Wright (2006), "Numerical optimization", section 10.3.
    """
    if ratio is None:
        return damping
    if ratio < LOW:
        return min(damping * FACTOR, MOST)
    return max(damping / FACTOR, LEAST) if ratio > HIGH else damping
