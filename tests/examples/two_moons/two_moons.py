"""Two interleaved half circles, told apart by a small network: a problem and a data set for BlockHF."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from backend.schemas import catalog, experiments, optimizers
from worker.optim import SoftmaxCrossEntropy
from worker.problems.data import Dataset, DataSource, Split
from worker.problems.problem import Problem

SIZES = {"train_size": 2000, "test_size": 500, "shape": [1, 1, 2], "classes": 2}
INFO = catalog.DataSet(name="moons", title="Two moons", embedded=True, **SIZES)


def load(_: Path) -> Dataset:
    """Draw the points; each is an image of 1 x 1 x 2 numbers from 0 to 1. A folder is there for what is fetched."""
    random = torch.Generator().manual_seed(0)
    angle, labels = torch.rand(2500, generator=random) * torch.pi, torch.randint(2, (2500,), generator=random)
    side = 1 - 2 * labels
    points = torch.stack((labels + side * angle.cos(), labels / 2 + side * angle.sin()), 1)
    images = ((points + 0.1 * torch.randn(2500, 2, generator=random) + 2) / 5).clamp(0, 1).view(2500, 1, 1, 2)
    return Dataset(INFO, Split(images[:2000], labels[:2000]), Split(images[2000:], labels[2000:]))


class TwoMoons(Problem):
    """Three dense layers, tanh, in two blocks: a block is a list of the module's layers, by their names there."""

    name, title, summary = "two-moons", "Two moons", "Tells two half circles apart: three dense layers, tanh."
    loss, loss_unit, accuracy = SoftmaxCrossEntropy(), "cross-entropy [nats], mean over the points", True
    partition: ClassVar = [["1"], ["3", "5"]]
    preset = experiments.ExperimentSpec(
        problem=experiments.Problem(name=name, data="moons"), optimizers=[optimizers.Adam()]
    )

    def build(self, *_: object) -> nn.Module:
        """Make the network; the seed is set."""
        return nn.Sequential(nn.Flatten(), nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))

    def accepts(self, data: catalog.DataSet) -> bool:
        """Take data of two numbers."""
        return data.inputs == 2

    def targets(self, _: Tensor, labels: Tensor) -> Tensor:
        """Return what the loss compares the outputs with."""
        return labels


PROBLEM, DATA = TwoMoons(), DataSource(INFO, load)
