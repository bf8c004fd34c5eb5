"""Losses of torch: derivatives, updates and chunks against automatic differentiation of the loss itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn import functional

from tests.worker.optim.reference import Dense
from worker.optim import HessianFree, LossError
from worker.optim.curvature import traced_model
from worker.optim.torch_losses import CrossEntropy, ElementwiseLoss, FunctionLoss, as_loss

N, C = 9, 3
WEIGHT = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
CLASSES = torch.arange(N) % C
IGNORED = torch.where(torch.arange(N) % 4 == 0, -100, CLASSES)


def uniform(*shape: int) -> Tensor:
    """Draw numbers from 0 to 1, always the same."""
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    """Take a power of the distance: a convex function of no class of torch."""
    return ((outputs - targets).square() + 0.1).pow(0.75).sum() / len(outputs)


CASES: dict[str, tuple[Any, Tensor]] = {
    "cross_entropy": (nn.CrossEntropyLoss(), CLASSES),
    "function": (functional.cross_entropy, CLASSES),
    "weights": (nn.CrossEntropyLoss(weight=WEIGHT), CLASSES),
    "ignored": (nn.CrossEntropyLoss(), IGNORED),
    "smoothed": (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2), IGNORED),
    "probabilities": (nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1), uniform(N, C).softmax(1)),
    "mse": (nn.MSELoss(), uniform(N, C)),
    "logits": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), (uniform(N, C) > 0.5).double()),
    "huber": (nn.HuberLoss(delta=0.3), uniform(N, C)),
    "smooth_l1": (nn.SmoothL1Loss(beta=0.4), uniform(N, C)),
    "poisson": (nn.PoissonNLLLoss(), uniform(N, C)),
    "own": (focal, uniform(N, C)),
}


def derivatives(loss: Any, value: Callable[..., Tensor], outputs: Tensor, targets: Tensor) -> None:
    """Compare gradient, products and square root with dense derivatives of the value."""
    gradient = jacrev(value)(outputs, targets)
    dense = jacrev(jacrev(value))(outputs, targets).reshape(outputs.numel(), -1)
    torch.testing.assert_close(loss.value(outputs, targets), value(outputs, targets))
    torch.testing.assert_close(loss.gradient(outputs, targets), gradient)
    v = uniform(4, *outputs.shape)
    expected = (v.flatten(1) @ dense).view(v.shape)
    torch.testing.assert_close(loss.hessian_product(outputs, targets, v), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(loss.hessian_product(outputs, targets, v[0]), expected[0], rtol=1e-9, atol=1e-12)
    if hasattr(loss, "hessian_square_root"):
        root = loss.hessian_square_root(outputs, targets).flatten(2)
        blocks = torch.einsum("kni,knj->nij", root, root)
        whole = dense.view(len(outputs), root.shape[2], len(outputs), -1)
        own = torch.stack([whole[n, :, n] for n in range(len(outputs))])
        torch.testing.assert_close(blocks, own, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_value(name: str) -> None:
    """In closed form or not, with weights, ignored targets and smoothing."""
    loss, targets = CASES[name]
    derivatives(as_loss(loss), loss, uniform(N, C) * 2, targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_has_positions(smoothing: float) -> None:
    """Sequences and images of class numbers, some of them ignored."""
    targets = torch.where(uniform(4, 2, 3) < 0.3, -100, (uniform(4, 2, 3) * C).long())
    loss = nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=smoothing)
    derivatives(as_loss(loss), loss, uniform(4, C, 2, 3), targets)


def network() -> nn.Module:
    """Two dense layers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, C)).double()


def update(loss: Any, targets: Tensor, method: str = "auto") -> tuple[float, Tensor]:
    """Do one update that solves the system; return the loss and the change of the weights."""
    model, x = network(), uniform(N, 4)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    made = HessianFree(
        model, loss, curvature_batch=4, learning_rate=1.0, damping=0.1, max_cg_iterations=200, product_method=method
    )
    result = made.step(x, targets)
    return result.loss, torch.cat([p.detach().flatten() for p in model.parameters()]) - before


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("name", CASES)
def test_updates_are_the_dense_solution(name: str, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or in chunks, whatever the reduction: weighted means are no means over the chunks."""
    if limit is not None:
        monkeypatch.setattr(traced_model, "ACTIVATION_BYTES", limit)
    loss, targets = CASES[name]
    reference = FunctionLoss(loss)
    dense = Dense.of(network(), reference, uniform(N, 4), targets, curvature_batch=4)
    matrix = dense.matrix + 0.1 * torch.eye(len(dense.gradient), dtype=torch.float64)
    value, change = update(loss, targets)
    torch.testing.assert_close(change, torch.linalg.solve(matrix, -dense.gradient), rtol=1e-6, atol=1e-9)
    assert value == pytest.approx(float(loss(network()(uniform(N, 4)).detach(), targets)), rel=1e-12)


@pytest.mark.parametrize("method", ["products", "interface", "samples", "explicit", "autograd"])
def test_methods_agree_on_torchs_losses(method: str) -> None:
    """The square root in closed form is that of the products."""
    loss, targets = CASES["smoothed"]
    torch.testing.assert_close(update(loss, targets, method), update(loss, targets, "autograd"), rtol=1e-8, atol=1e-10)


def test_negative_log_likelihood_after_log_softmax_is_cross_entropy() -> None:
    """The same value and step; outputs that are no logarithms of probabilities are an error."""
    model = nn.Sequential(network(), nn.LogSoftmax(1))
    before = [p.detach().clone() for p in model.parameters()]
    made = HessianFree(model, nn.NLLLoss(weight=WEIGHT), curvature_batch=4, learning_rate=1.0, damping=0.1,
                       max_cg_iterations=200)  # fmt: skip
    result = made.step(uniform(N, 4), CLASSES)
    value, change = update(nn.CrossEntropyLoss(weight=WEIGHT), CLASSES)
    found = torch.cat([(p.detach() - q).flatten() for p, q in zip(model.parameters(), before, strict=True)])
    torch.testing.assert_close(found, change, rtol=1e-6, atol=1e-9)
    assert result.loss == pytest.approx(value)
    with pytest.raises(LossError, match="log_softmax"):
        update(nn.NLLLoss(), CLASSES)


def test_losses_get_what_fits_them() -> None:
    """Closed forms for exactly torch's classes; what has all methods stays as it is."""
    assert isinstance(as_loss(functional.mse_loss), ElementwiseLoss)
    assert isinstance(as_loss(nn.CrossEntropyLoss()), CrossEntropy)
    assert isinstance(as_loss(lambda f, t: (f - t).square().mean()), FunctionLoss)
    own = FunctionLoss(focal)
    assert as_loss(own) is own


@pytest.mark.parametrize("loss", [nn.MSELoss(reduction="sum"), "mse", object()])
def test_what_is_no_mean_or_no_loss_is_refused(loss: Any) -> None:
    """At construction."""
    with pytest.raises(LossError):
        HessianFree(network(), loss, curvature_batch=4)
