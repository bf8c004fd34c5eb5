"""The paper's settings as benchmark cases: random weights and data of the real shapes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.optim import SquaredError
from worker.optim.losses import Loss

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


def _images() -> tuple[Tensor, Tensor]:
    x = torch.rand(GRADIENT_BATCH, 784)
    return x, x


def _autoencoder(curvature_batch: int) -> Setting:
    blocks = [["0", "2", "4", "6"], ["7", "9", "11", "13"]]
    return Setting(autoencoder, SquaredError(), blocks, _images, curvature_batch, 0.0, 30)


SETTINGS = {"autoencoder_100": _autoencoder(100), "autoencoder_500": _autoencoder(500)}
