"""The deep autoencoder of Hinton and Salakhutdinov (2006), as Zhang et al. (2017), section 5.1, train it."""

from collections import OrderedDict
from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor, nn

from backend.schemas.base import setting
from backend.schemas.catalog import DataSet, Dimension, Layer
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.experiments import Problem as ProblemChoice
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from worker.optim import SquaredError
from worker.problems.problem import Options, Problem

MAX_WIDTH = 4096


class AutoencoderOptions(Options):
    """Widths of the encoder's layers, in reverse those of the decoder, and the output's activation."""

    hidden_1: int = setting(1000, "width of the first hidden layer", unit="units", ge=1, le=MAX_WIDTH, paper=1000)
    hidden_2: int = setting(500, "width of the second hidden layer", unit="units", ge=1, le=MAX_WIDTH, paper=500)
    hidden_3: int = setting(250, "width of the third hidden layer", unit="units", ge=1, le=MAX_WIDTH, paper=250)
    code: int = setting(30, "width of the code layer", unit="units", ge=1, le=MAX_WIDTH, paper=30)
    output: Literal["linear", "sigmoid"] = setting("linear", "activation of the output, not stated in the paper")


class Autoencoder(Problem):
    """inputs-1000-500-250-30-250-500-1000-inputs, tanh, linear code: reproduces an image from 30 numbers."""

    name = "autoencoder"
    title = "Deep autoencoder"
    summary = "Compresses an image to 30 numbers and reproduces it: 8 dense layers, tanh, squared error, 2 blocks."
    loss_unit = "squared error, sum over the pixels, mean over the images"
    options = AutoencoderOptions
    loss = SquaredError()
    partition: ClassVar = [
        ["encoder.hidden_1", "encoder.hidden_2", "encoder.hidden_3", "encoder.code"],
        ["decoder.hidden_3", "decoder.hidden_2", "decoder.hidden_1", "decoder.output"],
    ]
    preset = ExperimentSpec(
        name="Deep autoencoder, the paper's settings",
        problem=ProblemChoice(name="autoencoder", data="mnist-5k"),
        optimizers=[Adam(), HessianFree(), BlockHessianFree()],
    )

    def build(self, options: Options, data: DataSet) -> nn.Module:
        """Chain the dense layers; weights Glorot uniform, biases zero."""
        assert isinstance(options, AutoencoderOptions)
        o = options
        encoder = _chain(data.inputs, hidden_1=o.hidden_1, hidden_2=o.hidden_2, hidden_3=o.hidden_3, code=o.code)
        decoder = _chain(o.code, hidden_3=o.hidden_3, hidden_2=o.hidden_2, hidden_1=o.hidden_1, output=data.inputs)
        if o.output == "sigmoid":
            decoder.append(nn.Sigmoid())
        return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))

    def inputs(self, images: Tensor) -> Tensor:
        """Flatten each image."""
        return images.flatten(1)

    def targets(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 - the image is its own target
        """Return the flattened images."""
        return images.flatten(1)

    def layers(self, data: DataSet) -> list[Layer]:  # noqa: ARG002 - dimensions are names
        """List the shapes in terms of the options."""
        encoder = ["inputs", "hidden_1", "hidden_2", "hidden_3", "code"]
        decoder = ["code", "hidden_3", "hidden_2", "hidden_1", "inputs"]
        names = [name for block in self.partition for name in block]
        widths = [*pairwise(encoder), *pairwise(decoder)]
        return [_dense(name, width_in, width_out) for name, (width_in, width_out) in zip(names, widths, strict=True)]


def _chain(inputs: int, **widths: int) -> nn.Sequential:
    """Chain dense layers of these widths, with tanh between them."""
    chain: OrderedDict[str, nn.Module] = OrderedDict()
    before = inputs
    for name, width in widths.items():
        if chain:
            chain[f"tanh_{len(chain) // 2 + 1}"] = nn.Tanh()
        chain[name] = linear = nn.Linear(before, width)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        before = width
    return nn.Sequential(chain)


def _dense(name: str, width_in: Dimension, width_out: Dimension) -> Layer:
    return Layer(name=name, parameters={"weight": [width_out, width_in], "bias": [width_out]})


PROBLEM = Autoencoder()
