"""The residual network without batch normalization that Zhang et al. (2017), section 5.3, train on CIFAR-10."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from backend.schemas.base import setting
from backend.schemas.catalog import DataSet, Dimension, Layer
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec
from backend.schemas.experiments import Problem as ProblemChoice
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from worker.optim import SoftmaxCrossEntropy
from worker.problems.problem import Options, Problem

MAX_CHANNELS = 512
STRIDES = (1, 2, 2)


class CnnOptions(Options):
    """Channels of the three residual blocks."""

    channels_1: int = setting(
        16, "channels of the first convolution and block", unit="channels", ge=1, le=MAX_CHANNELS, paper=16
    )
    channels_2: int = setting(32, "channels of the second block (stride 2)", unit="channels", ge=1, le=MAX_CHANNELS)
    channels_3: int = setting(64, "channels of the third block (stride 2)", unit="channels", ge=1, le=MAX_CHANNELS)


class ResidualBlock(nn.Module):
    """y = relu(conv_2(relu(conv_1(x))) + shortcut(x)), 3x3; the shortcut is x, or a 1x1 convolution with the stride."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
        self.relu_1 = nn.ReLU()
        self.conv_2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels_in, channels_out, 1, stride=stride)
        self.relu_2 = nn.ReLU()
        # On CPUs without AVX-512, torch 2.13 writes out of bounds in the backward pass of a strided 1x1 convolution of
        # channels-last images, unless the channels are a multiple of 8.
        self._copied = stride > 1 and channels_in % 8 != 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (N x channels_out x height / stride x width / stride)."""
        shortcut = self.shortcut(x.contiguous() if self._copied else x)
        result: Tensor = self.relu_2(self.conv_2(self.relu_1(self.conv_1(x))) + shortcut)
        return result


class ResidualNetwork(nn.Sequential):
    """A 3x3 convolution, three residual blocks, global average pooling, class scores."""

    def __init__(self, channels: int, widths: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.relu = nn.ReLU()
        before = (widths[0], *widths)
        for number, (width_in, width_out, stride) in enumerate(zip(before, widths, STRIDES, strict=False), 1):
            self.add_module(f"block_{number}", ResidualBlock(width_in, width_out, stride=stride))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.scores = nn.Linear(widths[2], classes)


class Cnn(Problem):
    """A small residual network classifies images."""

    name = "cnn"
    title = "Residual CNN"
    summary = "Classifies images: 3x3 convolution, 3 residual blocks, no batch normalization, 3 blocks."
    loss_unit = "cross-entropy [nats], mean over the images"
    accuracy = True
    options = CnnOptions
    loss = SoftmaxCrossEntropy()
    partition: ClassVar = [
        ["conv", "block_1.conv_1", "block_1.conv_2"],
        ["block_2.conv_1", "block_2.conv_2", "block_2.shortcut"],
        ["block_3.conv_1", "block_3.conv_2", "block_3.shortcut", "scores"],
    ]
    preset = ExperimentSpec(
        name="Residual CNN, the paper's settings",
        problem=ProblemChoice(name="cnn", data="cifar10"),
        optimizers=[Adam(), HessianFree(damping=0.1), BlockHessianFree(damping=0.1)],
        budget=Budget(updates=100),
        evaluation=Evaluation(every=10, polyak_decay=0.99),
    )

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Chain the layers; weights Glorot uniform, biases zero."""
        assert isinstance(options, CnnOptions)
        widths = (options.channels_1, options.channels_2, options.channels_3)
        model = ResidualNetwork(data.shape[0], widths, data.classes)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        return model

    def accepts(self, data: DataSet) -> bool:
        """Accept images of at least two classes."""
        return len(data.shape) == 3 and data.classes > 1

    def inputs(self, images: Tensor) -> Tensor:
        """Store the images with the channels last: convolutions on CPUs are faster then."""
        return images.contiguous(memory_format=torch.channels_last)

    def targets(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - the labels are the targets
        """Return the labels."""
        return labels

    def layers(self, data: DataSet) -> list[Layer]:  # noqa: ARG002 - dimensions are names
        """List the shapes in terms of the options and of the data set's sizes."""
        first, second, third = "channels_1", "channels_2", "channels_3"
        return [
            _convolution("conv", "channels", first, 3),
            _convolution("block_1.conv_1", first, first, 3),
            _convolution("block_1.conv_2", first, first, 3),
            _convolution("block_2.conv_1", first, second, 3),
            _convolution("block_2.conv_2", second, second, 3),
            _convolution("block_2.shortcut", first, second, 1),
            _convolution("block_3.conv_1", second, third, 3),
            _convolution("block_3.conv_2", third, third, 3),
            _convolution("block_3.shortcut", second, third, 1),
            Layer(name="scores", parameters={"weight": ["classes", third], "bias": ["classes"]}),
        ]


def _convolution(name: str, channels_in: Dimension, channels_out: Dimension, kernel: int) -> Layer:
    weight = [channels_out, channels_in, kernel, kernel]
    return Layer(name=name, parameters={"weight": weight, "bias": [channels_out]})


PROBLEM = Cnn()
