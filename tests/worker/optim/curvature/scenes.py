"""A block's problem at a case's first update, for the tests of the methods."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tests.worker.optim.cases import Case, make
from tests.worker.optim.reference import Dense
from worker.optim.blocks import Block, make_blocks
from worker.optim.curvature.systems import BlockProblem, System, Vectors
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel

CURVATURE = 8


@dataclass(frozen=True)
class Scene:
    """A case linearized, with dense references in the order of each block's parameters."""

    case: Case
    batch: TracedBatch
    blocks: list[Block]
    dense: Dense

    @classmethod
    def of(cls, name: str) -> "Scene":
        """Linearize at S_c."""
        case = make(name)
        blocks = make_blocks(case.model, case.blocks)
        batch = TracedModel(case.model, case.loss).linearize(case.inputs, case.targets).narrow(CURVATURE, blocks)
        dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
        return cls(case, batch, blocks, dense)

    def matrix(self, block: Block) -> Tensor:
        """G_b, dense."""
        at = self.dense.indices(self.case.model, block.layers)
        return self.dense.matrix[at][:, at]

    def problem(self, block: Block, *, warm: bool = True, damping: float = 0.1) -> BlockProblem:
        """Start from a vector that the curvature batch does not span."""
        x = torch.sin(torch.arange(block.size, dtype=torch.float64)) * warm
        at = self.dense.indices(self.case.model, block.layers)
        return BlockProblem(block, self.dense.gradient[at], x, warm=warm, damping=damping, vectors=Vectors(x))


def check_start(scene: Scene, problem: BlockProblem, system: System) -> None:
    """Compare |b|, scale and model of a system with dense algebra: they do not depend on the coordinates."""
    matrix = scene.matrix(problem.block) + problem.damping * torch.eye(problem.block.size, dtype=torch.float64)
    b = -(matrix @ problem.x + problem.gradient)
    torch.testing.assert_close(system.inner(system.b, system.b), b @ b)
    torch.testing.assert_close(system.scale, problem.gradient @ problem.gradient)
    torch.testing.assert_close(system.model, problem.x @ matrix @ problem.x / 2 + problem.gradient @ problem.x)


def check_product(scene: Scene, problem: BlockProblem, system: System) -> None:
    """Compare the length of A b, and b'A b, with dense algebra, and x + A b when finished with that vector."""
    matrix = scene.matrix(problem.block) + problem.damping * torch.eye(problem.block.size, dtype=torch.float64)
    b = -(matrix @ problem.x + problem.gradient)
    system.product(system.b, system.y)
    expected = matrix @ b
    torch.testing.assert_close(system.inner(system.b, system.y), b @ expected)
    torch.testing.assert_close(system.inner(system.y, system.b), b @ expected)
    torch.testing.assert_close(system.inner(system.y, system.y), expected @ expected)
    start = problem.x.clone()
    system.finish()
    torch.testing.assert_close(problem.x, start + expected, rtol=1e-10, atol=1e-10)
