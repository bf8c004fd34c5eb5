"""What a problem is: a network, its loss and targets, its own blocks, and its paper's settings."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from backend.schemas.catalog import DataSet, Layer
from backend.schemas.experiments import ExperimentSpec
from worker.optim import Loss


class Options(BaseModel):
    """A problem's own options; declare them with `backend.schemas.setting`. A problem without options uses this class."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Problem(ABC):
    """A network with its loss. A plug-in subclasses this and names an instance in the entry points `blockhf.problems`.

    Attributes:
        name: what configurations call it.
        title: what people call it.
        summary: one sentence.
        loss_unit: unit of the reported loss.
        accuracy: whether the outputs are classes' scores, whose greatest is compared with the label.
        options: class of the problem's options.
        loss: the loss object.
        partition: the problem's own blocks, as lists of layer names.
        preset: its paper's settings; empty of meaning where there is no paper, but valid.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    loss_unit: ClassVar[str]
    accuracy: ClassVar[bool] = False
    options: ClassVar[type[Options]] = Options
    loss: ClassVar[Loss]
    partition: ClassVar[list[list[str]]]
    preset: ClassVar[ExperimentSpec]

    @abstractmethod
    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Make the network with its initial weights, drawn from torch's default generator (which the caller seeds)."""

    def accepts(self, data: DataSet) -> bool:  # noqa: ARG002 - most problems take any images
        """Say whether the problem can use a data set."""
        return True

    def inputs(self, images: Tensor) -> Tensor:
        """Turn images (n, channels, height, width) into the network's inputs."""
        return images

    @abstractmethod
    def targets(self, images: Tensor, labels: Tensor) -> Tensor:
        """Pick or make what the loss compares the outputs with."""

    def layers(self, data: DataSet) -> list[Layer]:
        """List layers and their parameters' shapes for the catalog, in the order of the forward pass.

        A problem may give a dimension by name, which lets the block editor follow options and data: an option's name,
        or inputs, classes, channels, height or width of the data set's images. This default builds the network with
        the default options and gives numbers, so it suits a network whose sizes are fixed.
        """
        with torch.random.fork_rng(devices=[]):
            module = self.build(self.options(), data)
        return layers_of(module)


def layers_of(module: nn.Module) -> list[Layer]:
    """List the layers of a network: the submodules that own trainable parameters, with these."""
    shapes = {
        name: {key: list(p.shape) for key, p in layer.named_parameters(recurse=False) if p.requires_grad}
        for name, layer in module.named_modules()
    }
    return [Layer(name=name, parameters=parameters) for name, parameters in shapes.items() if parameters]
