"""Problems as a plug-in would bring them: small, for tests."""

import time
from typing import ClassVar

import torch
from torch import Tensor, nn

from backend.schemas.base import setting
from backend.schemas.catalog import DataSet
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.experiments import Problem as ProblemChoice
from backend.schemas.optimizers import Adam
from worker.optim import SoftmaxCrossEntropy
from worker.problems.autoencoder import Autoencoder
from worker.problems.problem import Options, Problem


class ClassifierOptions(Options):
    """One width."""

    hidden: int = setting(8, "width of the hidden layer", unit="units", ge=1, le=64)


class Classifier(Problem):
    """A small dense network that classifies digits."""

    name = "classifier"
    title = "Small classifier"
    summary = "Two dense layers."
    loss_unit = "nats"
    accuracy = True
    options = ClassifierOptions
    loss = SoftmaxCrossEntropy()
    partition: ClassVar = [["hidden"], ["scores"]]
    preset = ExperimentSpec(problem=ProblemChoice(name="classifier"), optimizers=[Adam()])

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Chain the two layers, with torch's own initialization."""
        assert isinstance(options, ClassifierOptions)
        model = nn.Sequential()
        model.add_module("flat", nn.Flatten())
        model.add_module("hidden", nn.Linear(data.inputs, options.hidden))
        model.add_module("tanh", nn.Tanh())
        model.add_module("scores", nn.Linear(options.hidden, data.classes))
        return model

    def targets(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - the labels are the targets
        """Take the labels."""
        return labels


class Zero(Autoencoder):
    """The autoencoder with every weight zero, whatever the seed: it predicts black images."""

    name = "zero"

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Set every weight to zero."""
        model = super().build(options, data)
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        return model


class Slow(nn.Module):
    """Sleeps, in evaluation or in training.

    Args:
        when_training: which of the two.
        seconds: for how long.
    """

    def __init__(self, *, when_training: bool, seconds: float = 0.5) -> None:
        super().__init__()
        self._when_training = when_training
        self._seconds = seconds

    def forward(self, inputs: Tensor) -> Tensor:
        """Pass on the inputs."""
        if self.training == self._when_training:
            time.sleep(self._seconds)
        return inputs


class SlowEvaluation(Classifier):
    """The same network with an evaluation of one second."""

    name = "slow-evaluation"

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Put the slow layer last."""
        model = super().build(options, data)
        assert isinstance(model, nn.Sequential)
        return model.append(Slow(when_training=False))


class SlowGradient(Classifier):
    """The same network with a gradient of half a second and almost no work."""

    name = "slow-gradient"

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Put the slow layer last."""
        model = super().build(options, data)
        assert isinstance(model, nn.Sequential)
        return model.append(Slow(when_training=True))


class Paced(Classifier):
    """The same network with at most 50 updates per second, for tests in which a run must train for some seconds."""

    name = "paced"

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Put the slow layer last."""
        model = super().build(options, data)
        assert isinstance(model, nn.Sequential)
        return model.append(Slow(when_training=True, seconds=0.02))


class Crash(Classifier):
    """A problem with a mistake in it."""

    name = "crash"

    def targets(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - see Problem
        """Make the mistake."""
        return torch.zeros(3)[5]


class NoLayers(Classifier):
    """A problem with an unknown layer in its partition."""

    name = "no-layers"
    partition: ClassVar = [["hidden"], ["nowhere"]]


CLASSIFIER = Classifier()
ZERO = Zero()
SLOW_EVALUATION = SlowEvaluation()
SLOW_GRADIENT = SlowGradient()
PACED = Paced()
CRASH = Crash()
NO_LAYERS = NoLayers()
NOT_A_PROBLEM = object()
