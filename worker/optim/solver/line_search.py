"""A line search along the solved step, by Armijo's rule."""

from collections.abc import Callable

SLOPE = 1e-2
SHRINK = 0.8
TRIALS = 60


def armijo(
    loss: Callable[[float], float], *, start: float, slope: float, first: float | None = None, rounding: float = 0.0
) -> float:
    """Return the first t in 1, 0.8, 0.8^2, .. with f(w + t p) <= f(w) + 0.01 t g'p; 0 where 60 trials find none.

    Args:
        loss: t -> f(w + t p), the mean loss over S_g.
        start: f(w).
        slope: g'p. Where it is not negative the result is 0 without a trial.
        first: f(w + p), where it is known already.
        rounding: rounding error of a loss. A rise of this size is accepted, or a small p would never be used in
            float32.

    Source: Armijo (1966), "Minimization of functions having Lipschitz continuous first partial derivatives"; after
        conjugate gradient: Martens (2010), "Deep learning via Hessian-free optimization".
    """
    if not slope < 0:
        return 0.0
    scale = 1.0
    for trial in range(TRIALS):
        value = first if trial == 0 and first is not None else loss(scale)
        if value <= start + SLOPE * scale * slope + rounding:
            return scale
        scale *= SHRINK
    return 0.0
