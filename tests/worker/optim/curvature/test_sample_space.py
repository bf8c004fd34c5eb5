"""The space of the examples: its algebra is that of the parameters."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.curvature.scenes import Scene, check_product, check_start
from worker.optim import HessianFree, SquaredError
from worker.optim.curvature import sample_space
from worker.optim.curvature.counting import Counter
from worker.optim.curvature.sample_space import SampleSystem

NAMES = ["autoencoder", "classifier", "functional"]


def dense_steps(scene: Scene, index: int) -> list[int]:
    """The block's steps with parameters: all are dense layers here."""
    path = scene.batch.paths[scene.blocks[index].names]
    return [step for step, _, names in path.steps if names]


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_algebra_is_that_of_the_parameters(name: str, warm: bool, damping: float) -> None:
    """Start, products, inner products and the method back agree with dense G, for every choice of layers."""
    scene = Scene.of(name)
    for index, block in enumerate(scene.blocks):
        steps = dense_steps(scene, index)
        for chosen in ({steps[0]}, {steps[-1]}, set(steps)):
            problem = scene.problem(block, warm=warm, damping=damping)
            system = SampleSystem(problem, scene.batch, scene.batch.output_hessian(block), frozenset(chosen))
            check_start(scene, problem, system)
            check_product(scene, problem, system)


@pytest.mark.parametrize("name", NAMES)
def test_counted_operations_are_torchs(name: str) -> None:
    """Set-up, products and finish take the operations that are said, within 5 %."""
    scene = Scene.of(name)
    for index, block in enumerate(scene.blocks):
        problem = scene.problem(block)
        with Counter() as counter:
            system = SampleSystem(
                problem, scene.batch, scene.batch.output_hessian(block), frozenset(dense_steps(scene, index))
            )
        assert system.setup_flops == pytest.approx(counter.flops, rel=0.05)
        with Counter() as counter:
            system.product(system.b, system.y)
        assert system.product_flops == pytest.approx(counter.flops, rel=0.05)
        with Counter() as counter:
            system.finish()
        assert system.finish_flops == pytest.approx(counter.flops, rel=0.05)


def least_squares(condition: float, dtype: torch.dtype, **given: Any) -> tuple[Any, Tensor, Tensor, nn.Linear]:
    """Make an optimizer for 16 examples of 64 features whose singular values fall from 4 to 4 / condition."""
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(64, 16, dtype=torch.float64))
    values = 4 * torch.logspace(0, -float(torch.tensor(condition).log10()), 16, dtype=torch.float64)
    x = (left * values) @ right.t()
    x, t = x.to(dtype), x.sum(1, keepdim=True).to(dtype)
    model = nn.Linear(64, 1, bias=False, dtype=dtype)
    made = HessianFree(model, SquaredError(), curvature_batch=16, learning_rate=1.0, product_method="samples", **given)
    return made, x, t, model


@pytest.mark.parametrize("iterations", [30, 100])
@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_reported_decrease_is_the_real_one(dtype: torch.dtype, condition: float, iterations: int) -> None:
    """The loss of a linear model is its own quadratic model, however ill-conditioned: nothing is lost in float32."""
    made, x, t, model = least_squares(condition, dtype, max_cg_iterations=iterations)
    first = None
    for _ in range(2):
        start = float((x.double() @ model.weight.detach().double().t() - t.double()).square().sum() / 16)
        first = first or start
        result = made.step(x, t)
        after = float((x.double() @ model.weight.detach().double().t() - t.double()).square().sum() / 16)
        assert result.blocks[0].product_method == "samples"
        assert result.blocks[0].model_decrease == pytest.approx(start - after, abs=1e-5 * first)
        assert after <= 1e-3 * first


@pytest.mark.parametrize("seed", range(3))
def test_more_iterations_than_needed_spoil_nothing(seed: int) -> None:
    """32 examples of 4 parameters: most combinations of examples are zero, and the solution is the dense one."""
    torch.manual_seed(seed)
    x = torch.randn(64, 3, dtype=torch.float64)
    t, a = x.sum(1, keepdim=True), torch.cat([x, torch.ones(64, 1, dtype=torch.float64)], 1)
    model = nn.Linear(3, 1, dtype=torch.float64)
    made = HessianFree(model, SquaredError(), curvature_batch=32, learning_rate=1.0, warm_start=0.0,
                       product_method="samples")  # fmt: skip
    for _ in range(3):
        w = torch.cat([model.weight.detach()[0], model.bias.detach()])
        expected = -torch.linalg.solve(a[:32].t() @ a[:32] / 32, a.t() @ (a @ w - t[:, 0]) / 64)
        made.step(x, t)
        found = torch.cat([made.state[model.weight]["solution"][0], made.state[model.bias]["solution"]])
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_bands_of_a_triangular_factor_change_nothing(damping: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer examples than inputs: the factor is triangular, and multiplied in one band or in several."""
    found = []
    for number in (1, 3):
        monkeypatch.setattr(
            sample_space,
            "triangle",
            lambda size, n=number, **_: [(size * i // n, size * (i + 1) // n) for i in range(n)],
        )
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3)).double()
        x = torch.rand(16, 20, dtype=torch.float64)
        made = HessianFree(model, SquaredError(), curvature_batch=8, damping=damping, max_cg_iterations=6,
                           product_method="samples")  # fmt: skip
        results = [made.step(x, x[:, :3]) for _ in range(2)]
        assert results[0].blocks[0].product_method == "samples"
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    x = torch.rand(16, 20, dtype=torch.float64)
    made = HessianFree(model, SquaredError(), curvature_batch=8, damping=damping, max_cg_iterations=6,
                       product_method="products")  # fmt: skip
    for _ in range(2):
        made.step(x, x[:, :3])
    found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found[0], found[2], rtol=1e-7, atol=1e-9)
