"""Any optimizer of torch.optim: the factory."""

import torch
from torch import nn

from tests.examples.torch_optim.settings import TorchOptim
from tests.examples.torch_optim.torch_classes import find
from worker.optim import FirstOrder, Loss


class Both(torch.optim.Optimizer):
    """Two optimizers as one, each with its own weights."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 # they need no closure
        """Do one update with each."""
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state
            part.step()


def make(chosen: TorchOptim, model: nn.Module, loss: Loss, _: list[list[str]]) -> FirstOrder:
    """Make the optimizer; it has no blocks."""
    chosen_class = find(chosen.name, chosen.learning_rate, chosen.arguments)

    def build(weights: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        others = [one for one in weights if one[1].ndim != 2]
        if chosen.name != "Muon" or not others:
            return chosen_class(weights)
        matrices = chosen_class([one for one in weights if one[1].ndim == 2])
        return Both(matrices, torch.optim.AdamW(others, lr=chosen.learning_rate))

    return FirstOrder(model, loss, build)
