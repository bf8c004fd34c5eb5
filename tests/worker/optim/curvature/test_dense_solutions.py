"""Conjugate gradient by every method against a dense float64 reference, on small versions of the LSTM and the CNN."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.reference import Dense, conjugate_gradient
from worker.optim import PeepholeLSTM, SoftmaxCrossEntropy
from worker.optim.blocks import make_blocks
from worker.optim.curvature import planner
from worker.optim.curvature.systems import BlockProblem, Vectors
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.solver import cg

EXAMPLES, CURVATURE, CLASSES = 12, 8, 3
ITERATIONS, DAMPING, MEMORY = 12, 0.1, 1 << 28


class Last(nn.Module):
    """The last step of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """Take it."""
        return x[:, -1]


@cache
def scene(name: str) -> tuple[nn.Module, Tensor, Tensor, list[list[str]], Dense]:
    """A model in float64, its batch, its blocks and its dense gradient and matrix."""
    torch.manual_seed(0)
    if name == "lstm":
        layers = (PeepholeLSTM(2, 3), PeepholeLSTM(3, 3), Last(), nn.Linear(3, CLASSES))
        model, x, blocks = nn.Sequential(*layers), torch.rand(EXAMPLES, 5, 2), [["0"], ["1", "3"]]
    else:
        convolutions = (nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
        model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))
        x, blocks = torch.rand(EXAMPLES, 2, 6, 6), [["0"], ["2"], ["6"]]
    model, x, t = model.double(), x.double(), torch.arange(EXAMPLES) % CLASSES
    return model, x, t, blocks, Dense.of(model, SoftmaxCrossEntropy(), x, t, curvature_batch=CURVATURE)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
@pytest.mark.parametrize(
    ("name", "method", "served"),
    [("lstm", "products", 2), ("lstm", "interface", 1), ("lstm", "samples", 1), ("lstm", "explicit", 2),
     ("cnn", "products", 3), ("cnn", "interface", 2), ("cnn", "samples", 1), ("cnn", "explicit", 1)],
)  # fmt: skip
def test_solutions_are_the_dense_ones(
    name: str, method: str, served: int, dtype: torch.dtype, tolerance: float
) -> None:
    """From a warm start, solution and quadratic model are those of dense conjugate gradient, on every block served."""
    reference, x, t, partition, dense = scene(name)
    model = copy.deepcopy(reference).to(dtype)
    blocks = make_blocks(model, partition)
    batch = TracedModel(model, SoftmaxCrossEntropy()).linearize(x.to(dtype), t).narrow(CURVATURE, blocks)
    found = 0
    for block in blocks:
        chosen = planner.plan(batch, block, product_method=method, iterations=ITERATIONS, warm=True, memory=MEMORY)
        if chosen.product_method != method:
            continue
        at = dense.indices(reference, block.layers)
        matrix = dense.matrix[at][:, at] + DAMPING * torch.eye(block.size, dtype=torch.float64)
        gradient, start = dense.gradient[at], 0.01 * torch.sin(torch.arange(block.size, dtype=torch.float64))
        expected = conjugate_gradient(matrix, -gradient, start, ITERATIONS)
        solution = start.to(dtype)
        problem = BlockProblem(
            block, gradient.to(dtype), solution, warm=True, damping=DAMPING, vectors=Vectors(solution)
        )
        with torch.no_grad():
            system = planner.system(batch, problem, chosen, memory=MEMORY)
            ended = cg.solve(
                system, system.b, system.y, cg.CgOptions(max_iterations=ITERATIONS, eps=system.eps),
                scale=system.scale, model=system.model, workspace=system.work,
            )  # fmt: skip
            system.finish()
        assert (solution.double() - expected).norm() <= tolerance * expected.norm()
        model_value = (expected @ matrix @ expected / 2 + gradient @ expected).item()
        assert ended.model == pytest.approx(model_value, rel=tolerance)
        found += 1
    assert found == served
