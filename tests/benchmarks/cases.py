"""The paper's three problems as benchmark cases: the product's own networks, random data of the real shapes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend.schemas.catalog import DataSet
from worker.problems import autoencoder, cnn, lstm
from worker.problems.data import cifar10, idx_data
from worker.problems.problem import Problem

GRADIENT_BATCH = 2000


@dataclass(frozen=True)
class Setting:
    """One update of the paper, but for its data: only shapes matter for time.

    `hard`: a factor on the initial weights and a damping with which conjugate gradient uses up all its iterations; at
    the paper's, on random data, it may have converged to rounding long before.
    """

    problem: Problem
    info: DataSet
    curvature_batch: int
    damping: float
    iterations: int
    hard: tuple[float, float] = (1.0, 0.0)

    def model(self, *, scale: float = 1.0) -> nn.Module:
        """Build the network at its default options, which are the paper's; multiply its weights."""
        model = self.problem.build(self.problem.options(), self.info)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        return model

    def data(self) -> tuple[Tensor, Tensor]:
        """Draw a gradient batch, as the network and its loss take it."""
        images = torch.rand(GRADIENT_BATCH, *self.info.shape)
        labels = torch.randint(self.info.classes, (GRADIENT_BATCH,))
        return self.problem.inputs(images), self.problem.targets(images, labels)


def _autoencoder(curvature_batch: int) -> Setting:
    return Setting(autoencoder.PROBLEM, idx_data.MNIST.info, curvature_batch, damping=0.0, iterations=30)


def _cnn(curvature_batch: int) -> Setting:
    return Setting(cnn.PROBLEM, cifar10.INFO, curvature_batch, damping=0.1, iterations=30, hard=(1.0, 1e-4))


def _lstm(curvature_batch: int) -> Setting:
    return Setting(lstm.PROBLEM, idx_data.MNIST.info, curvature_batch, damping=0.01, iterations=100, hard=(5.0, 1e-6))


SETTINGS = {
    "autoencoder_100": _autoencoder(100),
    "autoencoder_500": _autoencoder(500),
    "cnn_100": _cnn(100),
    "lstm_500": _lstm(500),
}
MEMORY_SETTINGS = {"autoencoder_500": _autoencoder(500), "cnn_500": _cnn(500), "lstm_500": _lstm(500)}
