"""Interfaces: the layers above a block, passed once."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.worker.optim.curvature.scenes import Scene
from worker.optim import SoftmaxCrossEntropy
from worker.optim.blocks import make_blocks
from worker.optim.curvature.counting import Counter
from worker.optim.curvature.interfaces import InterfaceSquareRoot, build, interfaces
from worker.optim.curvature.traced_model import TracedModel
from worker.problems import cnn
from worker.problems.data import cifar10

MEMORY = 1 << 30


@pytest.mark.parametrize("memory", [MEMORY, 1])
@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("name", ["autoencoder", "classifier", "functional"])
def test_products_through_an_interface_are_the_same(name: str, narrow: bool, memory: int) -> None:
    """G_b v through every interface, squared or as a root, in one piece or many, equals that through the outputs."""
    scene = Scene.of(name)
    found = 0
    for block in scene.blocks:
        vector, direct, through = torch.linspace(-1, 1, block.size, dtype=torch.float64), block.vector(), block.vector()
        scene.batch.product(block, vector, direct)
        for end in interfaces(scene.batch, block.names, rank=scene.batch.columns):
            chosen = replace(end, narrow=narrow)
            curvature = build(scene.batch, block.names, chosen, memory=memory)
            scene.batch.product(block, vector, through, curvature=curvature)
            torch.testing.assert_close(through, direct, rtol=1e-10, atol=1e-10)
            found += 1
    assert found


def test_counted_operations_are_torchs() -> None:
    """Building a curvature and a product through it take the operations that are said, within 5 %."""
    scene = Scene.of("autoencoder")
    block = scene.blocks[0]
    for end in interfaces(scene.batch, block.names, rank=scene.batch.columns):
        with Counter() as counter:
            curvature = build(scene.batch, block.names, end, memory=MEMORY)
        assert end.setup_flops == pytest.approx(counter.flops, rel=0.05)
        with Counter() as counter:
            scene.batch.product(block, block.vector(), block.vector(), curvature=curvature)
        assert scene.batch.product_flops(block, curvature=curvature) == pytest.approx(counter.flops, rel=0.05)


class Skip(nn.Module):
    """A connection around the second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        x = torch.tanh(self.first(x))
        result: torch.Tensor = self.last(torch.tanh(x + self.second(x)))
        return result


def test_an_interface_has_nothing_around_it() -> None:
    """Within a skipped part a block cannot end; before it and after it, it can."""
    model = Skip().double()
    blocks = make_blocks(model, [["first"], ["second"], ["last"]])
    x = torch.rand(6, 4, dtype=torch.float64)
    batch = TracedModel(model, SoftmaxCrossEntropy()).linearize(x, torch.arange(6) % 3).narrow(5, blocks)
    names = [operation.name for operation in batch.linearization.graph.operations]
    ends = [[names[end.step] for end in interfaces(batch, block.names, rank=batch.columns)] for block in blocks]
    assert ends == [["first", "tanh", "add", "tanh_1"], ["second", "add", "tanh_1"], []]


def test_a_root_head_keeps_the_order_of_its_values_in_memory() -> None:
    """Images with their channels last go through R without being copied into another order, and come out likewise."""
    problem, info = cnn.PROBLEM, cifar10.INFO
    model = problem.build(problem.options(), info)
    blocks = make_blocks(model, problem.partition)
    x = problem.inputs(torch.rand(2, *info.shape))
    batch = TracedModel(model, SoftmaxCrossEntropy()).linearize(x, torch.arange(2)).narrow(2, blocks)
    curvature = build(batch, blocks[0].names, interfaces(batch, blocks[0].names, rank=batch.columns)[0], memory=MEMORY)
    tangent = batch.linearization.tangent(curvature.path, blocks[0].views(blocks[0].vector().fill_(1)))
    assert tangent.is_contiguous(memory_format=torch.channels_last)
    assert curvature.apply(tangent).is_contiguous(memory_format=torch.channels_last)
    assert isinstance(curvature, InterfaceSquareRoot)
    assert curvature.order == (0, 2, 3, 1)
