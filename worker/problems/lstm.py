"""The three-layer LSTM that Zhang et al. (2017), section 5.2, train to classify digits pixel by pixel."""

from typing import ClassVar

from pydantic import field_validator
from torch import Tensor, nn

from backend.schemas.base import setting
from backend.schemas.catalog import DataSet, Dimension, Layer
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.experiments import Problem as ProblemChoice
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from worker.optim import PeepholeLSTM, SoftmaxCrossEntropy
from worker.problems.problem import Options, Problem

MAX_HIDDEN = 512
SIDE = 7


class LstmOptions(Options):
    """Width of the layers, and the step of the sequence."""

    hidden: int = setting(10, "cells of each LSTM layer", unit="units", ge=1, le=MAX_HIDDEN, paper=10)
    pixels_per_step: int = setting(
        1, "pixels per step: 1 (49 steps) or 7 (one row, 7 steps)", unit="pixels", ge=1, le=SIDE
    )

    @field_validator("pixels_per_step")
    @classmethod
    def _divides(cls, value: int) -> int:
        if value not in (1, SIDE):
            raise ValueError(f"must be 1 or {SIDE}")
        return value


class StackedLSTM(nn.Module):
    """Three peephole LSTM layers, and class scores from the last hidden state of the third."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.sequence = nn.Unflatten(1, (SIDE * SIDE // inputs, inputs))
        self.lstm_1 = PeepholeLSTM(inputs, hidden)
        self.lstm_2 = PeepholeLSTM(hidden, hidden)
        self.lstm_3 = PeepholeLSTM(hidden, hidden)
        self.scores = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (N x classes) of N images of 7x7 pixels (N x 49)."""
        states = self.lstm_3(self.lstm_2(self.lstm_1(self.sequence(x))))
        result: Tensor = self.scores(states[:, -1])
        return result


class Lstm(Problem):
    """Reads an image of 7x7 pixels as a sequence and classifies it at the end."""

    name = "lstm"
    title = "Stacked LSTM"
    summary = "Classifies an image, scaled to 7x7, pixel by pixel: 3 LSTM layers of 10 units with peepholes, 3 blocks."
    loss_unit = "cross-entropy [nats], mean over the images"
    accuracy = True
    options = LstmOptions
    loss = SoftmaxCrossEntropy()
    partition: ClassVar = [["lstm_1"], ["lstm_2"], ["lstm_3", "scores"]]
    preset = ExperimentSpec(
        name="Stacked LSTM, the paper's settings",
        problem=ProblemChoice(name="lstm", data="mnist-5k"),
        optimizers=[
            Adam(),
            HessianFree(damping=0.01, max_cg_iterations=100),
            BlockHessianFree(damping=0.01, max_cg_iterations=100),
        ],
    )

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Stack the layers, with their own initialization; class scores Glorot uniform, biases zero."""
        assert isinstance(options, LstmOptions)
        model = StackedLSTM(options.pixels_per_step, options.hidden, data.classes)
        nn.init.xavier_uniform_(model.scores.weight)
        nn.init.zeros_(model.scores.bias)
        return model

    def accepts(self, data: DataSet) -> bool:
        """Accept grey images of at least two classes that can be divided into 7x7 equal rectangles."""
        channels, height, width = data.shape
        return channels == 1 and height % SIDE == 0 and width % SIDE == 0 and data.classes > 1

    def inputs(self, images: Tensor) -> Tensor:
        """Average to 7x7 pixels and return them row by row, (n, 49)."""
        height, width = images.shape[2] // SIDE, images.shape[3] // SIDE
        return nn.functional.avg_pool2d(images, (height, width)).flatten(1)

    def targets(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - the labels are the targets
        """Return the labels."""
        return labels

    def layers(self, data: DataSet) -> list[Layer]:  # noqa: ARG002 - dimensions are names
        """List the shapes in terms of the options and of the data set's sizes."""
        return [
            _lstm("lstm_1", "pixels_per_step"),
            _lstm("lstm_2", "hidden"),
            _lstm("lstm_3", "hidden"),
            Layer(name="scores", parameters={"weight": ["classes", "hidden"], "bias": ["classes"]}),
        ]


def _lstm(name: str, inputs: Dimension) -> Layer:
    shapes: dict[str, list[Dimension]] = {
        "weight": [4, "hidden", inputs],
        "recurrent": [4, "hidden", "hidden"],
        "peephole": [3, "hidden"],
        "bias": [4, "hidden"],
    }
    return Layer(name=name, parameters=shapes)


PROBLEM = Lstm()
