"""The same optimizer for the worker: an update rule of torch, and the factory that the entry point names."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from tests.examples.sign_sgd.settings import SignSgd
from worker.optim import FirstOrder, Loss


class Sign(torch.optim.Optimizer):
    """w = w - lr sign(m), m = momentum m + gradient."""

    def __init__(self, params: Iterable[Any], *, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 # it needs no closure
        """Do one update."""
        for group in self.param_groups:
            for p in group["params"]:
                total = self.state[p].setdefault("sum", torch.zeros_like(p))
                total.mul_(group["momentum"]).add_(p.grad)
                p.sub_(group["lr"] * total.sign())


def make(chosen: SignSgd, model: nn.Module, loss: Loss, _: list[list[str]]) -> FirstOrder:
    """Make the optimizer; it has no blocks."""
    return FirstOrder(model, loss, partial(Sign, lr=chosen.learning_rate, momentum=chosen.momentum))
