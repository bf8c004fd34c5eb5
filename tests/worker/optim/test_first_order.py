"""Tests of torch's own optimizers behind our step."""

import copy
from functools import partial
from typing import Any

import pytest
import torch

from tests.worker.optim.cases import make
from worker.optim import BatchError, FirstOrder

MAKERS: dict[str, Any] = {
    "adam": partial(torch.optim.Adam, lr=0.01, betas=(0.8, 0.99), eps=1e-6),
    "adamw": partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9),
}
ADAM = torch.optim.Adam


@pytest.mark.parametrize("optimizer", MAKERS)
@pytest.mark.parametrize("name", ["autoencoder", "classifier"])
def test_equals_torch(name: str, optimizer: str) -> None:
    """Weights after some steps equal those of a plain torch loop."""
    ours, plain = make(name), make(name)
    first = FirstOrder(ours.model, ours.loss, MAKERS[optimizer])
    other = MAKERS[optimizer](plain.model.parameters())
    for _ in range(5):
        first.step(ours.inputs, ours.targets)
        other.zero_grad()
        torch.autograd.backward(plain.loss.value(plain.model(plain.inputs), plain.targets))
        other.step()
    for a, b in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_reports_loss_norms_and_cost() -> None:
    """Loss and gradient belong to the weights before the update, the step norm to their change, the cost is 1."""
    case = make("autoencoder")
    before = [p.detach().clone() for p in case.model.parameters()]
    value = case.loss.value(case.model(case.inputs), case.targets)
    torch.autograd.backward(value)
    norm = torch.cat([p.grad.flatten() for p in case.model.parameters() if p.grad is not None]).norm()
    result = FirstOrder(case.model, case.loss, ADAM).step(case.inputs, case.targets)
    change = torch.cat([(p - q).flatten() for p, q in zip(case.model.parameters(), before, strict=True)]).norm()
    assert result.loss == pytest.approx(value.item())
    assert result.gradient_norm == pytest.approx(norm.item())
    assert result.step_norm == pytest.approx(change.item())
    assert result.cost == 1
    assert result.blocks == ()


def test_resumes_bit_for_bit() -> None:
    """A new optimizer that loads state_dict continues with the same bits."""
    case = make("autoencoder")
    first = FirstOrder(case.model, case.loss, MAKERS["adam"])
    first.step(case.inputs, case.targets)
    model = copy.deepcopy(case.model)
    second = FirstOrder(model, case.loss, ADAM)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert first.step(case.inputs, case.targets) == second.step(case.inputs, case.targets)
    assert all(torch.equal(a, b) for a, b in zip(case.model.parameters(), model.parameters(), strict=True))


def test_unequal_numbers_are_refused() -> None:
    """As many targets as inputs are needed."""
    case = make("autoencoder")
    with pytest.raises(BatchError, match="12 inputs and 3 targets"):
        FirstOrder(case.model, case.loss, ADAM).step(case.inputs, case.targets[:3])


def test_keeps_no_graph() -> None:
    """What is kept from update to update has no history: it would grow with every one."""
    case = make("autoencoder")
    adam = FirstOrder(case.model, case.loss, ADAM)
    for _ in range(3):
        adam.step(case.inputs, case.targets)
    assert not any(before.requires_grad for before in adam._before.values())


def test_a_closure_is_passed_to_an_optimizer_that_needs_one() -> None:
    """LBFGS evaluates as often as it needs; figures are those before the update, the cost counts each evaluation."""
    ours, plain = make("autoencoder"), make("autoencoder")
    lbfgs = partial(torch.optim.LBFGS, lr=0.1, max_iter=4)
    first, other = FirstOrder(ours.model, ours.loss, lbfgs), lbfgs(plain.model.parameters())
    losses: list[float] = []

    def closure() -> Any:
        other.zero_grad()
        value = plain.loss.value(plain.model(plain.inputs), plain.targets)
        torch.autograd.backward(value)
        losses.append(value.item())
        return value

    result = first.step(ours.inputs, ours.targets)
    other.step(closure)  # type: ignore[no-untyped-call]  # torch's own has no types
    assert result.loss == pytest.approx(losses[0])
    assert (result.cost, result.gradient_seconds) == (len(losses), None)
    assert result.cost > 1
    for a, b in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


class Newton(torch.optim.SGD):
    """Gradient descent on the gradients' squared norm: w = w - lr H g, whose product needs the gradients' graph."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 # it needs no closure
        """Do one update."""
        [group] = self.param_groups
        gradients = [p.grad for p in group["params"]]
        products = torch.autograd.grad(gradients, group["params"], [g.detach() for g in gradients])
        with torch.no_grad():
            for p, product in zip(group["params"], products, strict=True):
                p.sub_(group["lr"] * product)


def test_gradients_have_a_graph_for_products_with_the_hessian() -> None:
    """The change is the product that torch computes itself; each costs two gradients; no graph is left behind."""
    case = make("classifier")
    parameters = list(case.model.parameters())
    value = case.loss.value(case.model(case.inputs), case.targets)
    gradients = torch.autograd.grad(value, parameters, create_graph=True)
    products = torch.autograd.grad(gradients, parameters, [g.detach() for g in gradients])
    expected = [(p - 0.1 * product).detach() for p, product in zip(parameters, products, strict=True)]
    result = FirstOrder(case.model, case.loss, partial(Newton, lr=0.1), hessian_products=1).step(
        case.inputs, case.targets
    )
    assert result.loss == pytest.approx(value.item())
    assert result.cost == 3
    assert all(p.grad is None for p in parameters)
    for p, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(p.detach(), wanted, rtol=1e-12, atol=1e-12)
