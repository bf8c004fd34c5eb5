"""The paper's settings as benchmark cases: random weights and data of the real shapes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.optim import SoftmaxCrossEntropy, SquaredError
from worker.optim.losses import Loss
from worker.optim.lstm import PeepholeLSTM

GRADIENT_BATCH = 2000


@dataclass(frozen=True)
class Setting:
    """One update of the paper, but for its data: only shapes matter for time."""

    model: Callable[[], nn.Module]
    loss: Loss
    blocks: list[list[str]]
    data: Callable[[], tuple[Tensor, Tensor]]
    curvature_batch: int
    damping: float
    iterations: int


def autoencoder() -> nn.Module:
    """784-1000-500-250-30-250-500-1000-784, tanh, linear code and output, Glorot weights, zero biases."""
    widths = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    layers: list[nn.Module] = []
    for i in range(8):
        layer = nn.Linear(widths[i], widths[i + 1])
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer] if i in (3, 7) else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """x + W_2 relu(W_1 x), then relu: 16 channels throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def residual() -> nn.Module:
    """3x3 convolution to 16 x 32 x 32, three residual blocks, a dense layer."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), Residual(), Residual(), Residual(), nn.Flatten(),
        nn.Linear(16 * 32 * 32, 10),
    )  # fmt: skip


class Recurrent(nn.Module):
    """Three peephole LSTM layers of 10 units and a dense layer on the last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(PeepholeLSTM(1, 10), PeepholeLSTM(10, 10), PeepholeLSTM(10, 10))
        self.dense = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.dense(self.layers(x)[:, -1])
        return result


def _images() -> tuple[Tensor, Tensor]:
    x = torch.rand(GRADIENT_BATCH, 784)
    return x, x


def _classes(*shape: int) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: (torch.rand(GRADIENT_BATCH, *shape), torch.randint(10, (GRADIENT_BATCH,)))


def _autoencoder(curvature_batch: int) -> Setting:
    blocks = [["0", "2", "4", "6"], ["7", "9", "11", "13"]]
    return Setting(autoencoder, SquaredError(), blocks, _images, curvature_batch, 0.0, 30)


_RESIDUAL = [["0", "2.first", "2.second"], ["3.first", "3.second"], ["4.first", "4.second", "6"]]
_RECURRENT = [["layers.0"], ["layers.1"], ["layers.2", "dense"]]

SETTINGS = {
    "autoencoder_100": _autoencoder(100),
    "autoencoder_500": _autoencoder(500),
    "cnn_100": Setting(residual, SoftmaxCrossEntropy(), _RESIDUAL, _classes(3, 32, 32), 100, 0.1, 30),
    "lstm_500": Setting(Recurrent, SoftmaxCrossEntropy(), _RECURRENT, _classes(49, 1), 500, 0.01, 100),
}
