"""Small named models, with data, loss and a partition, that the tests share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim import BlockHessianFree, SoftmaxCrossEntropy, SquaredError
from worker.optim.losses import Loss

EXAMPLES = 12
CURVATURE = 8


@dataclass(frozen=True)
class Case:
    """Something to optimize, in float64."""

    model: nn.Module
    loss: Loss
    inputs: Tensor
    targets: Tensor
    blocks: list[list[str]]


class Forward(nn.Module):
    """Functions and methods in place of activation modules, nested modules, an unused name in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.rest = nn.Sequential(nn.Sequential(nn.Linear(5, 4, bias=False), nn.GELU()), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.rest(torch.tanh(self.first(x)))
        return result


class Scaled(nn.Module):
    """A module that no rule covers: parameters of its own, used twice, and control flow."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.dense = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        for _ in range(x.dim()):
            x = torch.sin(x * self.scale)
        result: Tensor = self.dense(x)
        return result


def autoencoder() -> Case:
    """Dense, tanh, a linear code, squared error, two blocks: the paper's autoencoder in small."""
    model = nn.Sequential(
        nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)),
        nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 6)),
    )
    x = torch.rand(EXAMPLES, 6, dtype=torch.float64)
    return Case(model.double(), SquaredError(), x, x, [["0.0", "0.2"], ["1.0", "1.2"]])


def classifier() -> Case:
    """Dense with several activations, softmax cross-entropy, interleaved blocks."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 5), nn.Softplus(), nn.Linear(5, 4), nn.ELU(),
        nn.Linear(4, 3),
    ).double()  # fmt: skip
    x = torch.rand(EXAMPLES, 2, 3, dtype=torch.float64)
    return Case(model, SoftmaxCrossEntropy(), x, torch.arange(EXAMPLES) % 3, [["1", "5"], ["3"], ["7"]])


def functional() -> Case:
    """A forward method of its own."""
    x = torch.rand(EXAMPLES, 6, dtype=torch.float64)
    blocks = [["first"], ["rest.0.0", "rest.1"]]
    return Case(Forward().double(), SoftmaxCrossEntropy(), x, torch.arange(EXAMPLES) % 3, blocks)


def uncovered() -> Case:
    """A module that only double backward serves."""
    x = torch.rand(EXAMPLES, 6, dtype=torch.float64)
    return Case(Scaled().double(), SquaredError(), x, torch.rand(EXAMPLES, 3, dtype=torch.float64), [[""], ["dense"]])


CASES: dict[str, Callable[[], Case]] = {
    "autoencoder": autoencoder,
    "classifier": classifier,
    "functional": functional,
    "uncovered": uncovered,
}


def make(name: str) -> Case:
    """Build a case, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CASES[name]()


def weights(model: nn.Module) -> Tensor:
    """All weights, flat, in the model's order."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def optimizer(case: Case, **settings: Any) -> BlockHessianFree:
    """Build with few iterations, so that truncation shows."""
    settings = {"curvature_batch": CURVATURE, "damping": 0.1, "max_cg_iterations": 4} | settings
    return BlockHessianFree(case.model, case.loss, case.blocks, **settings)
