"""A traced model is the module's own, in value and gradient, at every step."""

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.worker.optim.reference import Dense
from worker.optim import HessianFree, StepResult
from worker.optim.torch_losses import FunctionLoss

X, T = torch.linspace(-1, 1, 36, dtype=torch.float64).view(12, 3).sin(), torch.arange(12) % 3


class Settings:
    """What a forward method reads beside its module's attributes."""

    slope, detached = 0.1, False


class Custom(nn.Module):
    """A forward method that reads attributes, and a global object."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.slope = nn.Linear(3, 4), nn.Linear(4, 3), 0.1

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        h = functional.leaky_relu(functional.leaky_relu(self.first(x), self.slope), Settings.slope)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not Settings.detached):
            side = torch.tanh(h)
        result: Tensor = self.last(h + side)
        return result


def plain() -> nn.Module:
    """Modules of torch alone."""
    return nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.1), nn.Linear(4, 3))


def mask(model: Any) -> None:
    """Replace a layer's forward method."""
    weight = torch.tensor([[0.0], [1.0], [1.0], [0.0]], dtype=torch.float64)

    def forward(self: nn.Linear, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * weight, self.bias)

    model[0].forward = types.MethodType(forward, model[0])


def add_hook(model: Any) -> None:
    """Register a hook that changes a layer's output."""
    model[0].register_forward_hook(lambda module, inputs, output: output * 2)  # noqa: ARG005 - torch's signature


def exchange(model: Any) -> None:
    """Exchange a layer."""
    model[1] = nn.Tanh()


def anneal_module(model: Any) -> None:
    """Change a setting of a layer."""
    model[1].negative_slope = 0.7


def anneal_attribute(model: Any) -> None:
    """Change an attribute of the module itself."""
    model.slope = 0.7


def anneal_global(model: Any) -> None:  # noqa: ARG001 - one signature for all
    """Change what no attribute of the model shows."""
    Settings.slope = 0.7


def detach(model: Any) -> None:  # noqa: ARG001 - one signature for all
    """Take an operation out of the gradient."""
    Settings.detached = True


CHANGES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], None]]] = {
    "mask": (plain, mask),
    "hook": (plain, add_hook),
    "exchange": (plain, exchange),
    "module": (plain, anneal_module),
    "attribute": (Custom, anneal_attribute),
    "global": (Custom, anneal_global),
}


def make(model: nn.Module) -> HessianFree:
    """Make an optimizer whose next step does not depend on the last one."""
    return HessianFree(
        model, nn.CrossEntropyLoss(), curvature_batch=6, learning_rate=1.0, damping=0.1, max_cg_iterations=300,
        warm_start=0.0,
    )  # fmt: skip


def step(model: nn.Module, made: HessianFree) -> tuple[Tensor, StepResult]:
    """Return the change of the weights and the result."""
    before = [p.detach().clone() for p in model.parameters()]
    result = made.step(X, T)
    return torch.cat([(p.detach() - q).flatten() for p, q in zip(model.parameters(), before, strict=True)]), result


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the global object after each test."""
    monkeypatch.setattr(Settings, "slope", 0.1)
    monkeypatch.setattr(Settings, "detached", False)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_model_is_the_one_that_is_trained(name: str, later: bool) -> None:
    """Before the first step or between two, the step is the dense solution of the present model."""
    torch.manual_seed(0)
    build, change = CHANGES[name]
    model = build().double()
    made = make(model)
    if later:
        assert made.step(X, T).blocks[0].product_method != "autograd"
    change(model)
    loss = functional.cross_entropy(model(X), T).item()
    dense = Dense.of(model, FunctionLoss(functional.cross_entropy), X, T, curvature_batch=6)
    matrix = dense.matrix + 0.1 * torch.eye(len(dense.gradient), dtype=torch.float64)
    found, result = step(model, made)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, -dense.gradient), rtol=1e-6, atol=1e-8)
    assert result.loss == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("later", [False, True])
def test_code_without_gradient_takes_the_autograd_method(later: bool) -> None:
    """The outputs stay the same and the gradient does not: the note says so."""
    torch.manual_seed(0)
    model = Custom().double()
    made = make(model)
    if later:
        made.step(X, T)
    detach(model)
    gradient = torch.autograd.grad(functional.cross_entropy(model(X), T), list(model.parameters()))
    result = made.step(X, T)
    assert result.blocks[0].product_method == "autograd"
    assert "gradient differs" in result.blocks[0].note
    assert result.gradient_norm == pytest.approx(float(torch.cat([g.flatten() for g in gradient]).norm()))


def test_gradient_hooks_of_parameters_are_obeyed() -> None:
    """Rows whose gradient is masked stay, by the autograd method, which the note explains."""
    torch.manual_seed(0)
    model: Any = plain().double()
    made = make(model)
    made.step(X, T)
    rows = torch.tensor([[1.0], [0.0], [0.0], [0.0]], dtype=torch.float64)
    model[0].weight.register_hook(lambda gradient: gradient * rows)
    before = model[0].weight.detach().clone()
    block = made.step(X, T).blocks[0]
    assert "gradient hook" in block.note
    assert torch.equal(model[0].weight[1:], before[1:])
    assert not torch.equal(model[0].weight[0], before[0])


def test_a_model_that_changes_back_is_traced_again() -> None:
    """A hook that was removed leaves nothing behind."""
    torch.manual_seed(0)
    model: Any = plain().double()
    made = make(model)
    handle = model[0].register_forward_hook(lambda module, inputs, output: output * 2)  # noqa: ARG005 - torch's
    assert made.step(X, T).blocks[0].product_method == "autograd"
    handle.remove()
    assert made.step(X, T).blocks[0].product_method != "autograd"


class Straight(torch.autograd.Function):
    """Rounds, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        """Round."""
        return x.mul(8).round().div(8)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        """Pass the cotangent on."""
        return cotangent


class Quantized(nn.Module):
    """A layer, rounded."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = Straight.apply(self.dense(x))  # type: ignore[no-untyped-call]  # torch's
        return result


def test_a_backward_of_its_own_is_used() -> None:
    """The step is that of the gradient that the function declares."""
    torch.manual_seed(0)
    model = Quantized().double()
    outputs = model(X).detach()
    g = (outputs.softmax(1) - functional.one_hot(T, 3)) / 12
    a = torch.cat([X, torch.ones(12, 1, dtype=torch.float64)], 1)
    gradient = (g.t() @ a).flatten()
    p = outputs[:6].softmax(1)
    h = (torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)) / 6
    matrix = torch.einsum("nij,na,nb->iajb", h, a[:6], a[:6]).reshape(12, 12) + 0.1 * torch.eye(12, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, -gradient).view(3, 4)
    before = model.dense.weight.detach().clone()
    make(model).step(X, T)
    torch.testing.assert_close(model.dense.weight.detach() - before, expected[:, :3], rtol=1e-6, atol=1e-8)
