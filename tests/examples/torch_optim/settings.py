"""Any optimizer of torch.optim: its settings. torch checks them before anything is queued."""

from typing import Literal

from pydantic import ValidationInfo, field_validator

from backend.schemas.base import setting
from backend.schemas.optimizers import Colour, OptimizerSettings
from tests.examples.torch_optim.torch_classes import check


class TorchOptim(OptimizerSettings):
    """An optimizer of torch.optim, by name."""

    title, long_title = "torch.optim", "Any optimizer of torch.optim"
    summary = "Trains with the optimizer that you name. Muon trains matrices only, so AdamW trains the other weights."
    colour, vectors = Colour("#555555", "#bbbbbb"), 4

    kind: Literal["torch"] = "torch"
    name: str = setting("RMSprop", "class of torch.optim, such as NAdam, Muon or LBFGS")
    arguments: str = setting("", "other arguments, as in Python: momentum=0.9, centered=True", validate_default=True)

    @field_validator("arguments")
    @classmethod
    def _torch_accepts(cls, value: str, info: ValidationInfo) -> str:
        if {"name", "learning_rate"} <= info.data.keys():
            check(info.data["name"], info.data["learning_rate"], value)
        return value
