"""An optimizer that a package adds to BlockHF: its settings."""

from typing import Literal

from backend.schemas.base import setting
from backend.schemas.optimizers import Colour, OptimizerSettings


class SignSgd(OptimizerSettings):
    """Steps of one size, along the signs of a running sum of gradients."""

    title = "Sign SGD"
    long_title = "Sign SGD with momentum"
    summary = "Changes every weight by the same amount."
    colour = Colour("#555555", "#bbbbbb")
    vectors = 3

    kind: Literal["sign"] = "sign"
    momentum: float = setting(0.9, "fraction of the previous sum that is added to the gradient", ge=0, lt=1)
