"""The paper's CNN and LSTM in small, as cases."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.worker.optim.cases import Case
from worker.optim import PeepholeLSTM, SoftmaxCrossEntropy, layer_partition


class Residual(nn.Module):
    """Convolutions, a rectifier, a sum and pooling, as in the paper's CNN."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.branch = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.last = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        x = self.first(x)
        result: Tensor = self.last(x + self.branch(x))
        return result


class Sequence(nn.Module):
    """Two peephole LSTM layers and a dense one on the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper, self.dense = PeepholeLSTM(2, 4), PeepholeLSTM(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.dense(self.upper(self.lower(x))[:, -1])
        return result


def _classifies(model: nn.Module, *shape: int) -> Case:
    model = model.double()
    inputs, targets = torch.rand(12, *shape, dtype=torch.float64), torch.arange(12) % 3
    return Case(model, SoftmaxCrossEntropy(), inputs, targets, layer_partition(model))


NETWORKS: dict[str, Callable[[], Case]] = {
    "cnn": lambda: _classifies(Residual(), 1, 6, 6),
    "lstm": lambda: _classifies(Sequence(), 5, 2),
}
