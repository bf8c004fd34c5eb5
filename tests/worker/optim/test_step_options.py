"""Weight decay, the limit of the step's norm, gradient hooks, schedules of any value, batch normalization."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from tests.worker.optim.cases import CURVATURE, Case, make, optimizer, weights
from tests.worker.optim.reference import Dense
from worker.optim import BlockHessianFree, FirstOrder, HessianFree, ModelError, ScheduledValue, SquaredError

METHODS = pytest.mark.parametrize("method", ["auto", "products", "explicit", "autograd"])
X, T = torch.rand(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def moved(case: Case, made: BlockHessianFree) -> tuple[Tensor, Any]:
    """Return the change of the weights and the result."""
    before = weights(case.model)
    result = made.step(case.inputs, case.targets)
    return weights(case.model) - before, result


@METHODS
def test_weight_decay_is_in_gradient_and_curvature(method: str) -> None:
    """(G_b + (d + l) I) x = -(g + l w), with another l for each block."""
    case = make("autoencoder")
    dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
    made = optimizer(case, product_method=method, learning_rate=1.0, max_cg_iterations=300, weight_decay=0.3)
    made.param_groups[1]["weight_decay"] = 0.7
    expected, before = torch.zeros_like(dense.gradient), weights(case.model)
    for layers, decay in zip(case.blocks, (0.3, 0.7), strict=True):
        at = dense.indices(case.model, layers)
        matrix = dense.matrix[at][:, at] + (0.1 + decay) * torch.eye(len(at), dtype=torch.float64)
        expected[at] = torch.linalg.solve(matrix, -dense.gradient[at] - decay * before[at])
    found, result = moved(case, made)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    assert [block.damping for block in result.blocks] == [0.1, 0.1]
    fresh = make("autoencoder")
    assert result.loss == pytest.approx(case.loss.value(fresh.model(case.inputs), case.targets).item())


def test_trials_see_the_penalty() -> None:
    """The reduction ratio of a linear model without damping and S_c = S_g is 1, weight decay included."""
    torch.manual_seed(0)
    model, x = nn.Linear(3, 2).double(), X.double()
    made = HessianFree(
        model, SquaredError(), curvature_batch=12, damping=0.2, adaptive_damping=True, weight_decay=0.5,
        line_search=True,
    )  # fmt: skip
    result = made.step(x, x[:, :2])
    assert result.reduction_ratio == pytest.approx(1.0, rel=1e-9)
    before = float(weights(model).square().sum())
    made.param_groups[0]["weight_decay"] = 1e6
    result = made.step(x, x[:, :2])
    assert result.loss_decrease is not None
    assert result.loss_decrease > 0
    assert float(weights(model).square().sum()) < before


@METHODS
def test_a_step_is_scaled_to_the_limit_of_its_norm(method: str) -> None:
    """Each block's own; a shorter step is unchanged bit for bit."""
    free, limited, wide = (make("autoencoder") for _ in range(3))
    whole, result = moved(free, optimizer(free, product_method=method))
    norms = [block.step_norm for block in result.blocks]
    limit = 0.5 * min(norms)
    found, short = moved(limited, optimizer(limited, product_method=method, max_step_norm=limit))
    assert [block.step_norm for block in short.blocks] == pytest.approx([limit, limit])
    dense = Dense.of(free.model, free.loss, free.inputs, free.targets, curvature_batch=CURVATURE)
    for layers, norm in zip(free.blocks, norms, strict=True):
        at = dense.indices(free.model, layers)
        torch.testing.assert_close(found[at], whole[at] * (limit / norm))
    assert torch.equal(moved(wide, optimizer(wide, product_method=method, max_step_norm=2 * max(norms)))[0], whole)


def test_trials_try_the_limited_step() -> None:
    """Reduction ratio and loss are those of the step that is taken."""
    case = make("autoencoder")
    start = case.loss.value(case.model(case.inputs), case.targets).item()
    options: dict[str, Any] = {"adaptive_damping": True, "backtracking": True, "max_step_norm": 1e-3}
    result = optimizer(case, **options).step(case.inputs, case.targets)
    after = case.loss.value(case.model(case.inputs), case.targets).item()
    assert result.loss_decrease == pytest.approx(start - after, rel=1e-9)
    assert result.reduction_ratio == pytest.approx(1.0, rel=1e-2)  # a short step: the quadratic model is right


@pytest.mark.parametrize(
    ("key", "value"),
    [("weight_decay", -1.0), ("weight_decay", math.nan), ("max_step_norm", 0.0), ("batch_norm", "train")],
)
def test_options_out_of_bounds_are_refused(key: str, value: Any) -> None:
    """When they are given, and in `param_groups`."""
    case = make("autoencoder")
    with pytest.raises(ValueError, match=f"{key} is"):
        optimizer(case, **{key: value})
    if key != "batch_norm":
        made = optimizer(case)
        made.param_groups[0][key] = value
        with pytest.raises(ValueError, match=f"{key} is"):
            made.step(case.inputs, case.targets)


@pytest.mark.parametrize("method", ["auto", "autograd"])
def test_gradients_can_be_clipped_before_the_solve(method: str) -> None:
    """By torch's own function; p.grad is as before afterwards, and a removed hook does nothing."""
    case, free = make("autoencoder"), make("autoencoder")
    dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
    made = optimizer(case, product_method=method, learning_rate=1.0, max_cg_iterations=300)
    first = next(case.model.parameters())
    stored = first.grad = torch.ones_like(first)
    handle = made.register_gradient_hook(lambda _: nn.utils.clip_grad_norm_(case.model.parameters(), 0.01))
    expected = torch.zeros_like(dense.gradient)
    clipped = dense.gradient * (0.01 / (dense.gradient.norm() + 1e-6))
    for layers in case.blocks:
        at = dense.indices(case.model, layers)
        matrix = dense.matrix[at][:, at] + 0.1 * torch.eye(len(at), dtype=torch.float64)
        expected[at] = torch.linalg.solve(matrix, -clipped[at])
    found, result = moved(case, made)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-10)
    assert result.gradient_norm == pytest.approx(0.01, rel=1e-4)
    assert first.grad is stored
    handle.remove()
    case.model.load_state_dict(free.model.state_dict())
    made.state.clear()
    assert torch.equal(
        moved(case, made)[0],
        moved(free, optimizer(free, product_method=method, learning_rate=1.0, max_cg_iterations=300))[0],
    )


def test_a_gradient_can_be_replaced() -> None:
    """None means zero: without warm start the block stays."""
    case = make("autoencoder")
    made = optimizer(case)
    seen: list[float] = []

    def hook(each: BlockHessianFree) -> None:
        for p in each.param_groups[0]["params"]:
            p.grad = None
        for p in each.param_groups[1]["params"]:
            seen.append(float(p.grad.norm()))
            p.grad = p.grad * 2

    made.register_gradient_hook(hook)
    before = [p.detach().clone() for p in made.param_groups[0]["params"]]
    result = made.step(case.inputs, case.targets)
    assert all(torch.equal(p, q) for p, q in zip(before, made.param_groups[0]["params"], strict=True))
    assert result.gradient_norm == pytest.approx(2 * math.hypot(*seen))
    assert copy.deepcopy((case.model, made))[1].step(case.inputs, case.targets).gradient_norm != result.gradient_norm


def test_hooks_run_once_per_step() -> None:
    """Those of torch, of every optimizer, also once another optimizer of torch exists."""
    torch.optim.Adam([nn.Parameter(X.clone())])
    case = make("autoencoder")
    first, second = FirstOrder(case.model, case.loss, torch.optim.Adam), optimizer(case)
    seen: list[str] = []
    for made in (first.optimizer, second):
        made.register_step_pre_hook(lambda *_: seen.append("pre"))
        made.register_step_post_hook(lambda *_: seen.append("post"))
    first.step(case.inputs, case.targets)
    second.step(case.inputs, case.targets)
    assert seen == ["pre", "post"] * 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("damping", 0.1), ("warm_start", 0.8), ("weight_decay", 0.2), ("max_cg_iterations", 8), ("lr", 0.4)],
)
def test_schedulers_of_torch_change_any_number(name: str, value: float) -> None:
    """As they change a learning rate, beside a scheduler of that, through a saved state."""
    case = make("autoencoder")
    options = {"learning_rate" if name == "lr" else name: value}
    made = optimizer(case, **options)
    rate = lr_scheduler.LambdaLR(made, lambda _: 1.0)
    schedule = lr_scheduler.LambdaLR(ScheduledValue(made, name), lambda epoch: 0.5**epoch)
    for epoch in range(3):
        assert made.param_groups[1][name] == pytest.approx(value * 0.5**epoch)
        made.step(case.inputs, case.targets)
        rate.step()
        schedule.step()
        made.load_state_dict(copy.deepcopy(made.state_dict()))
    assert made.param_groups[0][f"initial_{name}"] == value
    assert schedule.get_last_lr() == pytest.approx([made.param_groups[0][name]] * 2)


@pytest.mark.parametrize("name", ["cg_stop", "line_search", "max_step_norm", "momentum", "params"])
def test_what_is_no_number_has_no_schedule(name: str) -> None:
    """The error lists what has one."""
    with pytest.raises(ValueError, match=f"'{name}' is no number .*damping"):
        ScheduledValue(optimizer(make("autoencoder")), name)
    with pytest.raises(RuntimeError, match="optimizer's own step"):
        ScheduledValue(optimizer(make("autoencoder")), "damping").step()


def normalized() -> Any:
    """Dense layers with batch normalization, with statistics of its own."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    model(torch.rand(50, 3))
    return model


def test_batch_normalization_in_evaluation_mode() -> None:
    """The update is that of model.eval(); modes and statistics stay as they were."""
    one, other = normalized(), normalized().eval()
    options: dict[str, Any] = {"curvature_batch": 6, "damping": 0.1, "line_search": True}
    a = HessianFree(one, nn.CrossEntropyLoss(), **options, batch_norm="eval")
    b = HessianFree(other, nn.CrossEntropyLoss(), **options)
    mean = one[1].running_mean.clone()
    for _ in range(2):
        assert a.step(X, T).loss == b.step(X, T).loss
    assert torch.equal(weights(one), weights(other))
    assert torch.equal(one[1].running_mean, mean)
    assert all(module.training for module in one.modules())
    one[0].weight.data.fill_(math.nan)
    a.step(X, T)
    assert one[1].training


def test_layers_that_couple_examples_are_named() -> None:
    """All of them, with what to do; statistics of the batch alone have no evaluation mode."""
    with pytest.raises(ModelError, match=r"'1' is BatchNorm1d in training mode, layer '4' is .*batch_norm='eval'"):
        HessianFree(normalized(), nn.CrossEntropyLoss(), curvature_batch=6)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(ModelError, match="'1' is BatchNorm1d"):
        HessianFree(model, nn.CrossEntropyLoss(), curvature_batch=6, batch_norm="eval")


class Centred(nn.Module):
    """Couples the examples without a module of torch that does."""

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the batch's mean."""
        return x - x.mean(0)


@pytest.mark.parametrize("count", [2, 3, 12])
@pytest.mark.parametrize("curvature", [False, True])
def test_a_layer_that_couples_examples_is_found(count: int, curvature: bool) -> None:
    """Whatever its class and however small the batch; weights stay."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), Centred()), nn.Linear(4, 3))
    before = weights(model)
    made = HessianFree(model, nn.CrossEntropyLoss(), curvature_batch=1, damping=0.1)
    with pytest.raises(ModelError, match=r"layer '1\.1' \(Centred\): .* change with the other examples"):
        made.step(X[:count], T[:count], curvature=(X[:2], T[:2]) if curvature else None)
    assert torch.equal(weights(model), before)
    assert not any(module._forward_hooks for module in model.modules())
