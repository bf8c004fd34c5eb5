"""The interface of a problem: network, loss, targets, blocks, and the settings of its paper."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from backend.schemas.catalog import DataSet, Layer
from backend.schemas.experiments import ExperimentSpec
from worker.optim import Loss


class Options(BaseModel):
    """Base class of a problem's options, each declared with `backend.schemas.base.setting`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Problem(ABC):
    """A network with its loss. A plug-in registers an instance under the entry points `blockhf.problems`.

    Attributes:
        name: its name in configurations.
        title: its name for people.
        summary: one sentence.
        loss_unit: unit of the reported loss.
        accuracy: whether the outputs are class scores, so that the highest is compared with the label.
        options: class of the problem's options.
        loss: the loss object.
        partition: its default blocks, as lists of layer names.
        preset: the settings of its paper, or any valid settings if there is none.
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
        """Return the network with random initial weights.

        Args:
            options: an instance of `options`.
            data: the data set.

        Draw from torch's default generator only; the caller seeds it.
        """

    def accepts(self, data: DataSet) -> bool:  # noqa: ARG002 - most problems accept any images
        """Return whether the problem can use a data set."""
        return True

    def inputs(self, images: Tensor) -> Tensor:
        """Return the network's inputs for images (n, channels, height, width)."""
        return images

    @abstractmethod
    def targets(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return what the loss compares the outputs with, for images (n, ...) and labels (n,)."""

    def layers(self, data: DataSet) -> list[Layer]:
        """List the layers and their parameters' shapes, in the order of the forward pass.

        A dimension can be a number or a name: of an option, or inputs, classes, channels, height or width of the data
        set. The block editor then computes it from the current options. This default builds the network with the
        default options and returns numbers.
        """
        with torch.random.fork_rng(devices=[]):
            module = self.build(self.options(), data)
        return layers_of(module)


def layers_of(module: nn.Module) -> list[Layer]:
    """List the submodules that have trainable parameters of their own, with the parameters' shapes."""
    shapes = {
        name: {key: list(p.shape) for key, p in layer.named_parameters(recurse=False) if p.requires_grad}
        for name, layer in module.named_modules()
    }
    return [Layer(name=name, parameters=parameters) for name, parameters in shapes.items() if parameters]
