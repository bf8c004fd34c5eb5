"""A loss given as a function: any computation, by double backward."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional

from tests.worker.optim.cases import weights
from worker.optim import BatchError, BlockHessianFree, HessianFree, LossError, ModelError, StepResult

X = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
T = torch.arange(12) % 3
OPTIONS: dict[str, Any] = {
    "curvature_batch": 1, "learning_rate": 1.0, "damping": 0.1, "max_cg_iterations": 300, "warm_start": 0.0,
}  # fmt: skip


def network() -> Any:
    """Two dense layers, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def classify(model: nn.Module, x: Tensor = X, t: Tensor = T) -> Callable[[], Any]:
    """Return the function of a classifier."""

    def forward() -> tuple[Tensor, Tensor]:
        outputs = model(x)
        return functional.cross_entropy(outputs, t), outputs

    return forward


def moved(
    model: nn.Module, made: HessianFree | BlockHessianFree, *forward: Any, **named: Any
) -> tuple[Tensor, StepResult]:
    """Return the change of the weights and the result."""
    before = weights(model)
    result = made.step(*forward, **named)
    return weights(model) - before, result


@pytest.mark.parametrize(
    "options", [{}, {"line_search": True, "adaptive_damping": True, "backtracking": True, "max_cg_iterations": 6}]
)
@pytest.mark.parametrize("blocks", [[["0", "2"]], [["2"], ["0"]]])
def test_the_update_is_that_of_the_batch(blocks: list[list[str]], options: dict[str, Any]) -> None:
    """Over two steps, with S_c of its own, under every trial; as a keyword too, under which Lightning passes it."""
    one, other = network(), network()
    a, b = (BlockHessianFree(m, nn.CrossEntropyLoss(), blocks, **OPTIONS | options) for m in (one, other))
    for _ in range(2):
        expected = a.step(X, T, curvature=(X[:6], T[:6]))
        found = b.step(closure=classify(other), curvature=classify(other, X[:6], T[:6]))
        assert found.loss == pytest.approx(expected.loss, rel=1e-12)
        assert (found.scale, found.iteration) == (expected.scale, expected.iteration)
    torch.testing.assert_close(weights(other), weights(one), rtol=1e-9, atol=1e-10)
    assert found.blocks[0].product_method == "autograd"
    assert found.cost > 1


@pytest.mark.parametrize("twice", [False, True])
def test_the_curvature_batch_is_the_batch(twice: bool) -> None:
    """Where no other function is given; an output that is returned twice counts once."""
    one, other = network(), network()
    a, b = (HessianFree(m, nn.CrossEntropyLoss(), **OPTIONS | {"curvature_batch": 12}) for m in (one, other))
    a.step(X, T)

    def forward() -> tuple[Tensor, Any]:
        loss, outputs = classify(other)()
        return loss, (outputs, outputs, outputs.argmax(1)) if twice else outputs

    assert "bypass" not in b.step(forward).blocks[0].note
    torch.testing.assert_close(weights(other), weights(one), rtol=1e-9, atol=1e-10)


class Physics:
    """u'' = -u on a line with u(0) = 1: residuals of a differential equation and a boundary value."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        self.points = torch.linspace(0, 1, 7, dtype=torch.float64).view(-1, 1)

    def outputs(self, call: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return residuals (7 x 1) and the boundary's error."""
        first = jacrev(lambda x: call(x.view(1, 1))[0, 0])
        second = torch.stack([jacrev(first)(p[0]) for p in self.points]).view(-1, 1)
        return second + call(self.points), call(self.points[:1]) - 1

    def forward(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, with derivatives by the inputs, and what it is made of."""
        x = self.points.clone().requires_grad_()
        u = self.model(x)
        (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        residual, boundary = second + u, self.model(self.points[:1]) - 1
        return residual.square().mean() + 10 * boundary.square().sum(), {"residual": residual, "boundary": boundary}


@pytest.mark.parametrize("options", [{}, {"adaptive_damping": True}])
def test_a_physics_informed_loss(options: dict[str, Any]) -> None:
    """Two kinds of outputs, with derivatives by the inputs: the step is the dense Gauss-Newton solution."""
    problem = Physics()
    model = problem.model
    named = {name: p.detach().clone() for name, p in model.named_parameters()}

    def outputs(w: dict[str, Tensor]) -> Tensor:
        parts = problem.outputs(lambda x: functional_call(model, w, (x,)))
        return torch.cat([part.flatten() for part in parts])

    scale = torch.tensor([2 / 7] * 7 + [20.0], dtype=torch.float64)
    jacobian = torch.cat([j.reshape(8, -1) for j in jacrev(outputs)(named).values()], 1)
    matrix = jacobian.t() @ (scale[:, None] * jacobian) + 0.1 * torch.eye(jacobian.shape[1], dtype=torch.float64)
    expected = torch.linalg.solve(matrix, -jacobian.t() @ (scale * outputs(named)))
    found, result = moved(model, HessianFree(model, nn.MSELoss(), **OPTIONS | options), problem.forward)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    assert result.blocks[0].note == "the loss was given as a function"


def test_several_networks() -> None:
    """The parameters of all of them, in a ModuleList; blocks by network."""
    torch.manual_seed(0)
    models = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]).double()

    def outputs(w: dict[str, Tensor]) -> Tensor:
        return torch.tanh(X @ w["0.weight"].t() + w["0.bias"]) * (X @ w["1.weight"].t() + w["1.bias"])

    def forward() -> tuple[Tensor, Tensor]:
        f = torch.tanh(models[0](X)) * models[1](X)
        return functional.cross_entropy(f, T), f

    named = {name: p.detach().clone() for name, p in models.named_parameters()}
    f = outputs(named)
    jacobian = torch.cat([j.reshape(36, -1) for j in jacrev(outputs)(named).values()], 1)
    h = jacrev(jacrev(lambda f: functional.cross_entropy(f, T)))(f).reshape(36, 36)
    g = jacobian.t() @ jacrev(lambda f: functional.cross_entropy(f, T))(f).flatten()
    matrix = jacobian.t() @ h @ jacobian + 0.1 * torch.eye(24, dtype=torch.float64)
    expected = torch.cat([torch.linalg.solve(matrix[s, s], -g[s]) for s in (slice(0, 12), slice(12, 24))])
    found, _ = moved(models, BlockHessianFree(models, nn.CrossEntropyLoss(), [["0"], ["1"]], **OPTIONS), forward)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_terms_that_bypass_the_outputs_are_in_the_gradient_alone() -> None:
    """The note states it."""
    model = network()

    def forward() -> tuple[Tensor, Tensor]:
        loss, outputs = classify(model)()
        return loss + sum(p.square().sum() for p in model.parameters()), outputs

    made = HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS)
    result = made.step(forward)
    assert "bypass" in result.blocks[0].note
    other = network()
    loss, _ = classify(other)()
    (loss + sum(p.square().sum() for p in other.parameters())).backward()
    assert result.gradient_norm == pytest.approx(float(nn.utils.get_total_norm([p.grad for p in other.parameters()])))


def test_functions_resume_and_copy() -> None:
    """State and copies are those of any step."""
    model = network()
    made = HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS | {"warm_start": 0.9})
    made.step(classify(model))
    other, clone = copy.deepcopy((model, made))
    assert made.step(classify(model)) == clone.step(classify(other))
    assert torch.equal(weights(model), weights(other))


def _backward(model: nn.Module) -> Any:
    loss, outputs = classify(model)()
    loss.backward()
    return loss, outputs


def _bad(name: str, model: nn.Module) -> Any:
    loss, outputs = classify(model)()
    double = outputs * 2
    return {
        "alone": loss,
        "detached": (loss, outputs.detach()),
        "copied": (loss, model(X)),
        "no graph": (loss.detach(), outputs),
        "one per example": (functional.cross_entropy(outputs, T, reduction="none"), outputs),
        "nothing": (loss, ()),
        "concave": (-loss, outputs),
        "twice": (loss + double.square().sum(), (outputs, double)),
        "part": (model[0](X).square().sum(), model[0](X)),  # type: ignore[index]  # a Sequential
    }[name]


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("alone", BatchError, r"must return \(loss, outputs\)"),
        ("detached", LossError, "does not depend on the outputs"),
        ("copied", LossError, "does not depend on the outputs"),
        ("no graph", LossError, "with its graph"),
        ("one per example", LossError, "scalar"),
        ("nothing", BatchError, "no output"),
        ("concave", LossError, "not convex"),
        ("twice", LossError, "depends on another output"),
        ("part", (ModelError, LossError), "not reached|does not depend"),
    ],
)
def test_functions_that_do_not_fit_are_refused(name: str, error: Any, says: str) -> None:
    """Before any weight changes, with what to do."""
    model = network()
    with pytest.raises(error, match=says):
        HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS).step(lambda: _bad(name, model))
    assert torch.equal(weights(model), weights(network()))


def test_what_a_function_cannot_have_is_refused() -> None:
    """Random numbers, backward(), the preconditioner, a tensor as curvature."""
    model = network()
    made = HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS)
    with pytest.raises(ModelError, match="random"):
        made.step(lambda: classify(model, X + torch.rand_like(X))())
    with pytest.raises(ModelError, match=r"called backward"):
        made.step(lambda: _backward(model))
    with pytest.raises(BatchError, match="curvature is tuple"):
        made.step(classify(model), curvature=(X, T))
    with pytest.raises(BatchError, match="single examples"):
        HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS, preconditioner=True).step(classify(model))
    assert torch.equal(weights(model), weights(network()))
