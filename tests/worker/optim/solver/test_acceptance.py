"""Backtracking, adaptive damping, line search and preconditioner in whole updates, against dense algebra."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacrev

from tests.worker.optim.cases import CASES, Case, make, optimizer
from tests.worker.optim.reference import Dense, conjugate_gradient
from worker.optim import BlockHessianFree, StepResult
from worker.optim.curvature.counting import Counter
from worker.optim.settings import ProductMethod
from worker.optim.solver.backtracking import backtrack

CURVATURE = 8
METHODS = list(ProductMethod)
ALL = {"adaptive_damping": True, "backtracking": True, "line_search": True, "preconditioner": True}


def weights(case: Case) -> Tensor:
    """All weights, flat, in the model's order."""
    return torch.cat([p.detach().flatten() for p in case.model.parameters()])


def value(case: Case) -> float:
    """The mean loss over S_g at the present weights."""
    return case.loss.value(case.model(case.inputs), case.targets).item()


def value_at(case: Case, flat: Tensor) -> float:
    """The mean loss over S_g at other weights."""
    other = copy.deepcopy(case.model)
    torch.nn.utils.vector_to_parameters(flat, other.parameters())
    return case.loss.value(other(case.inputs), case.targets).item()


def step(case: Case, under_test: BlockHessianFree) -> StepResult:
    """Make an update."""
    return under_test.step(case.inputs, case.targets)


def systems(case: Case) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Each block's positions among the weights, gradient and Gauss-Newton matrix."""
    dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
    at = [dense.indices(case.model, layers) for layers in case.blocks]
    return [(a, dense.gradient[a], dense.matrix[a][:, a]) for a in at]


def squares(case: Case) -> Tensor:
    """The mean over S_c of squared gradients of single examples' losses, flat."""
    named = {name: p.detach() for name, p in case.model.named_parameters()}
    pairs = [(case.inputs[i : i + 1], case.targets[i : i + 1]) for i in range(CURVATURE)]

    def each(w: dict[str, Tensor]) -> Tensor:
        return torch.stack([case.loss.value(functional_call(case.model, w, (x,)), t) for x, t in pairs])

    return torch.cat([j.square().mean(0).flatten() for j in jacrev(each)(named).values()])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_preconditioned_updates_equal_the_dense_reference(name: str, method: str) -> None:
    """With M = D^2 an update is D^-1 times textbook conjugate gradient on D^-1 (G + d I) D^-1, warm start and all."""
    case = make(name)
    under_test = optimizer(case, learning_rate=0.3, warm_start=0.9, product_method=method, preconditioner=True)
    starts: dict[int, Tensor] = {}
    for _ in range(3):
        expected, scale = weights(case), (squares(case) + 0.1) ** (0.75 / 2)
        for i, (at, g, matrix) in enumerate(systems(case)):
            d = scale[at]
            damped = matrix + 0.1 * torch.eye(len(at), dtype=torch.float64)
            start = starts.get(i, torch.zeros_like(g)) * 0.9
            starts[i] = conjugate_gradient(damped / d / d[:, None], -g / d, start * d, 4) / d
            expected[at] += 0.3 * starts[i]
        result = step(case, under_test)
        torch.testing.assert_close(weights(case), expected, rtol=1e-10, atol=1e-10)
        assert all(block.product_method != "samples" for block in result.blocks)


def test_planner_says_why_sample_space_is_left() -> None:
    """Sample space cannot be preconditioned: another method is taken, and the note says so."""
    case = make("autoencoder")
    blocks = step(case, optimizer(case, product_method="samples", preconditioner=True)).blocks
    assert {b.note for b in blocks} == {"the preconditioner is not available in sample space"}
    assert all(b.product_method != "samples" for b in blocks)
    blocks = step(case, optimizer(case, product_method="products", preconditioner=True)).blocks
    assert {b.note for b in blocks} == {""}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("damping", "lr", "factor"), [(1e-3, 0.1, 2 / 3), (1e-3, 1.0, 1.5), (0.1, 1.0, 1), (10.0, 1.0, 2 / 3)]
)
def test_damping_follows_the_reduction_ratio(method: str, damping: float, lr: float, factor: float) -> None:
    """Rho is the loss's change over that of the block-diagonal model without damping, and moves every block's d."""
    case, other = make("autoencoder"), make("autoencoder")
    under_test = optimizer(
        case, damping=[damping, 2 * damping], learning_rate=lr, product_method=method, adaptive_damping=True
    )
    plain = optimizer(other, damping=[damping, 2 * damping], learning_rate=lr, product_method=method)
    before, start, dense = weights(case), value(case), systems(case)
    result = step(case, under_test)
    step(other, plain)
    assert torch.equal(weights(case), weights(other))
    p = weights(case) - before
    model = sum((g @ p[at] + p[at] @ matrix @ p[at] / 2).item() for at, g, matrix in dense)
    assert result.reduction_ratio == pytest.approx((value(case) - start) / model, rel=1e-6)
    assert result.loss_decrease == pytest.approx(start - value(case), rel=1e-6)
    found = [group["damping"] for group in under_test.param_groups]
    assert found == pytest.approx([damping * factor, 2 * damping * factor], rel=1e-12)
    assert [b.damping for b in result.blocks] == [damping, 2 * damping]


def test_adaptive_damping_needs_something_to_adapt() -> None:
    """A damping of 0 would stay 0: it is refused."""
    with pytest.raises(ValueError, match="damping is 0: adaptive damping"):
        optimizer(make("autoencoder"), damping=[0.1, 0.0], adaptive_damping=True)


@pytest.mark.parametrize("method", METHODS)
def test_backtracking_is_an_earlier_limit(method: str) -> None:
    """The update is, to rounding, that of the limit it goes back to; the stored solution is the last iterate."""
    settings: dict[str, Any] = {"learning_rate": 1.5, "product_method": method, "damping": 1e-6, "max_cg_iterations": 9}
    limits = [1, 2, 3, 4, 5, 7, 9]
    case, last = make("autoencoder"), make("autoencoder")
    truncated: dict[int, Tensor] = {}
    for limit in limits:
        other = make("autoencoder")
        step(other, optimizer(other, **(settings | {"max_cg_iterations": limit})))
        truncated[limit] = weights(other)
    losses = {i: value_at(case, w) for i, w in truncated.items()}
    taken, lowest = backtrack(limits, losses.__getitem__)
    assert taken < 9
    under_test, full = optimizer(case, backtracking=True, **settings), optimizer(last, **settings)
    result = step(case, under_test)
    step(last, full)
    assert result.iteration == taken
    assert result.evaluations == len([i for i in limits if i >= taken]) + (taken > 1)
    torch.testing.assert_close(weights(case), truncated[taken], rtol=1e-7, atol=1e-7)
    assert value(case) == pytest.approx(lowest, rel=1e-6)
    for p, q in zip(case.model.parameters(), last.model.parameters(), strict=True):
        assert torch.equal(under_test.state[p]["solution"], full.state[q]["solution"])


def test_ratio_is_that_of_the_iterate_gone_back_to() -> None:
    """With backtracking, rho compares loss and model at the step taken, not at the last iterate."""
    case = make("autoencoder")
    under_test = optimizer(
        case, learning_rate=1.5, damping=1e-6, max_cg_iterations=9, backtracking=True, adaptive_damping=True
    )
    before, start, dense = weights(case), value(case), systems(case)
    result = step(case, under_test)
    p = weights(case) - before
    model = sum((g @ p[at] + p[at] @ matrix @ p[at] / 2).item() for at, g, matrix in dense)
    assert result.iteration is not None
    assert result.iteration < 9
    assert result.reduction_ratio == pytest.approx((value(case) - start) / model, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_line_search_shrinks_the_step(method: str) -> None:
    """The step is the first of 1, 0.8, 0.64, .. that lowers the loss by a hundredth of its slope."""
    case = make("autoencoder")
    under_test = optimizer(case, learning_rate=30.0, product_method=method, line_search=True)
    before, start, dense = weights(case), value(case), systems(case)
    result = step(case, under_test)
    x = torch.zeros_like(before)
    for at, g, matrix in dense:
        damped = matrix + 0.1 * torch.eye(len(at), dtype=torch.float64)
        x[at] = conjugate_gradient(damped, -g, torch.zeros_like(g), 4)
    slope = 30 * sum((g @ x[at]).item() for at, g, _ in dense)
    scales = [0.8**i for i in range(60)]
    expected = next(t for t in scales if value_at(case, before + t * 30 * x) <= start + 0.01 * t * slope)
    assert expected < 1
    assert result.scale == pytest.approx(expected, rel=1e-12)
    assert result.evaluations == round(math.log(expected) / math.log(0.8)) + 1
    torch.testing.assert_close(weights(case), before + expected * 30 * x, rtol=1e-8, atol=1e-8)
    assert result.step_norm == pytest.approx((weights(case) - before).norm().item(), rel=1e-12)


def test_a_step_that_cannot_lower_the_loss_is_not_taken() -> None:
    """A batch with NaN leaves the weights and the damping alone, bit for bit, with every option on."""
    case = make("autoencoder")
    before = weights(case)
    under_test = optimizer(case, **ALL)
    result = under_test.step(case.inputs * math.nan, case.targets)
    assert torch.equal(weights(case), before)
    assert result.reduction_ratio is None
    assert under_test.param_groups[0]["damping"] == 0.1


@pytest.mark.parametrize("method", ["products", "interface", "samples"])
@pytest.mark.parametrize(
    "settings", [{}, *({setting: True} for setting in ALL), ALL], ids=lambda settings: "+".join(settings) or "none"
)
def test_cost_counts_what_was_computed(settings: dict[str, Any], method: str) -> None:
    """The reported cost is, to 0.1 %, that of all matrix products dispatched; with every option off too."""
    case = make("autoencoder")
    under_test = optimizer(case, product_method=method, **settings)
    step(case, under_test)
    with Counter() as counter:
        case.loss.value(case.model(case.inputs), case.targets)
    forward = counter.flops
    with Counter() as counter:
        result = step(case, under_test)
    per_layer = [2 * 12 * p.numel() for p in case.model.parameters() if p.dim() == 2]
    unit = forward + 2 * sum(per_layer) - per_layer[0]
    assert result.cost * unit == pytest.approx(counter.flops, rel=1e-3)


@pytest.mark.parametrize("setting", [*ALL, "all"])
@pytest.mark.parametrize(("name", "method"), [("uncovered", "auto"), *(("autoencoder", method) for method in METHODS)])
def test_resumes_bit_for_bit(name: str, method: str, setting: str) -> None:
    """A new optimizer that loads state_dict goes on with the same bits and with the options of the first."""
    case = make(name)
    first = optimizer(case, product_method=method, learning_rate=2.0, **(ALL if setting == "all" else {setting: True}))
    for _ in range(2):
        step(case, first)
    resumed = Case(copy.deepcopy(case.model), case.loss, case.inputs, case.targets, case.blocks)
    second = optimizer(resumed, product_method=method, damping=7.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(2):
        assert step(case, first) == step(resumed, second)
    assert torch.equal(weights(case), weights(resumed))


CHECKS: dict[str, Callable[[StepResult], bool]] = {
    "adaptive_damping": lambda r: r.reduction_ratio is not None,
    "backtracking": lambda r: r.iteration is not None,
    "line_search": lambda r: r.scale < 1,
}


@pytest.mark.parametrize("setting", CHECKS)
def test_options_serve_any_module(setting: str) -> None:
    """A module that no rule covers has them too, and says what they did."""
    case = make("uncovered")
    result = step(case, optimizer(case, learning_rate=1.9, damping=1e-3, **{setting: True}))
    assert CHECKS[setting](result)
    assert result.evaluations >= 1


@pytest.mark.parametrize("name", CASES)
def test_all_options_together_lower_the_loss(name: str) -> None:
    """With everything on, no update raises the loss of its own batch."""
    case = make(name)
    under_test = optimizer(case, learning_rate=1.0, **ALL)
    losses = [step(case, under_test).loss for _ in range(8)]
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] < losses[0]


def test_a_step_size_of_zero_changes_nothing() -> None:
    """A schedule may begin or end at 0: no ratio is known, and no weight moves."""
    case = make("autoencoder")
    before = weights(case)
    made = optimizer(case, adaptive_damping=True, line_search=True)
    made.param_groups[0]["lr"] = made.param_groups[-1]["lr"] = 0.0
    result = made.step(case.inputs, case.targets)
    assert result.reduction_ratio is None
    assert torch.equal(weights(case), before)


def test_an_interrupt_leaves_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a trial breaks off, by Ctrl-C or for want of memory, the weights are as they were, bit for bit."""
    case = make("autoencoder")
    made = optimizer(case, learning_rate=1.0, damping=0.1, line_search=True)
    before, forward, calls = weights(case), case.model.forward, []

    def breaks_off(x: Tensor) -> Tensor:
        if not torch.equal(weights(case), before):
            calls.append(1)
            raise KeyboardInterrupt
        result: Tensor = forward(x)
        return result

    monkeypatch.setattr(case.model, "forward", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        made.step(case.inputs, case.targets)
    assert calls == [1]
    assert torch.equal(weights(case), before)
