"""Adam is torch's own behind our step."""

import copy

import pytest
import torch

from tests.worker.optim.cases import make
from worker.optim import Adam, BatchError


@pytest.mark.parametrize("name", ["autoencoder", "classifier"])
def test_equals_torch_bit_for_bit(name: str) -> None:
    """Weights after some steps equal those of a plain torch loop."""
    ours, plain = make(name), make(name)
    adam = Adam(ours.model, ours.loss, learning_rate=0.01, betas=(0.8, 0.99), eps=1e-6)
    other = torch.optim.Adam(plain.model.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-6)
    for _ in range(5):
        adam.step(ours.inputs, ours.targets)
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
    result = Adam(case.model, case.loss).step(case.inputs, case.targets)
    change = torch.cat([(p - q).flatten() for p, q in zip(case.model.parameters(), before, strict=True)]).norm()
    assert result.loss == pytest.approx(value.item())
    assert result.gradient_norm == pytest.approx(norm.item())
    assert result.step_norm == pytest.approx(change.item())
    assert result.cost == 1
    assert result.blocks == ()


def test_resumes_bit_for_bit() -> None:
    """A new Adam that loads state_dict goes on with the same bits."""
    case = make("autoencoder")
    first = Adam(case.model, case.loss, learning_rate=0.01)
    first.step(case.inputs, case.targets)
    model = copy.deepcopy(case.model)
    second = Adam(model, case.loss)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert first.step(case.inputs, case.targets) == second.step(case.inputs, case.targets)
    assert all(torch.equal(a, b) for a, b in zip(case.model.parameters(), model.parameters(), strict=True))


def test_unequal_numbers_are_refused() -> None:
    """As many targets as inputs are needed."""
    case = make("autoencoder")
    with pytest.raises(BatchError, match="12 inputs and 3 targets"):
        Adam(case.model, case.loss).step(case.inputs, case.targets[:3])


def test_keeps_no_graph() -> None:
    """What is kept from update to update has no history: it would grow with every one."""
    case = make("autoencoder")
    adam = Adam(case.model, case.loss)
    for _ in range(3):
        adam.step(case.inputs, case.targets)
    assert not any(before.requires_grad for before in adam._before.values())
