"""AdaHessian: its settings."""

from typing import Literal

from backend.schemas.base import setting
from backend.schemas.optimizers import Colour, OptimizerSettings


class AdaHessian(OptimizerSettings):
    """AdaHessian (Yao et al., 2021): Adam with the Hessian's diagonal in the place of squared gradients."""

    title, long_title = "AdaHessian", "AdaHessian"
    summary = "Estimates the Hessian's diagonal by products with random vectors. An update costs about 3 gradients."
    colour, vectors = Colour("#7a4fbf", "#b79cf0"), 8

    kind: Literal["adahessian"] = "adahessian"
    learning_rate: float = setting(0.1, "step size", gt=0, le=100)
    products: int = setting(1, "products with the Hessian per update", unit="products", ge=1, le=100)
    hessian_power: float = setting(1.0, "exponent of the diagonal: 1 is a Newton step, 0 a gradient step", gt=0, le=1)
