"""What users of torch.optim do every day: copies, conversions, other inputs, schedulers, batches with NaN."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.cases import make, optimizer, weights
from worker.optim import (
    BatchError,
    BlockHessianFree,
    FirstOrder,
    HessianFree,
    LossError,
    ModelError,
    PartitionError,
    SquaredError,
    StopReason,
)

METHODS = pytest.mark.parametrize("method", ["auto", "autograd"])
X, T = torch.rand(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def mlp(outputs: int = 3) -> Any:
    """Two dense layers, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs))


def hf(model: Any, loss: Any = None, **options: Any) -> HessianFree:
    """Make an optimizer."""
    return HessianFree(model, loss or nn.CrossEntropyLoss(), **{"curvature_batch": 6, "damping": 0.1, **options})


@METHODS
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_step_as_the_original(clone: Callable[[Any], Any], method: str) -> None:
    """A copy of model and optimizer does the same updates, bit for bit, on weights of its own."""
    model = mlp()
    made = hf(model, product_method=method)
    made.step(X, T)
    other_model, other = clone((model, made))
    for _ in range(2):
        assert made.step(X, T) == other.step(X, T)
    assert torch.equal(weights(model), weights(other_model))
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in other_model.parameters()}


@METHODS
def test_a_model_converted_later_goes_on(method: str) -> None:
    """The last solution is converted with it."""
    model = mlp()
    made = hf(model, product_method=method)
    made.step(X, T)
    model.double()
    result = made.step(X.double(), T)
    assert made.state[model[0].weight]["solution"].dtype == torch.float64
    assert result.blocks[0].stop_reason is not StopReason.DIVERGED
    made.load_state_dict(copy.deepcopy(made.state_dict()))
    made.step(X.double(), T)


@METHODS
@pytest.mark.parametrize("before", [True, False])
def test_other_parameters_stay(method: str, before: bool) -> None:
    """What becomes trainable later belongs to nobody: our step is that of the frozen model."""
    alone, model = mlp(), mlp()
    for each in (alone, model):
        each[0].requires_grad_(False)
    first, second = hf(alone, product_method=method), hf(model, product_method=method)
    if not before:
        assert first.step(X, T) == second.step(X, T)
    model[0].requires_grad_(True)
    assert first.step(X, T).loss == second.step(X, T).loss
    torch.testing.assert_close(weights(alone), weights(model))


@METHODS
def test_targets_of_numpy_are_taken(method: str) -> None:
    """Their float64 is rounded to the weights' precision."""
    one, other = mlp(2), mlp(2)
    t = torch.from_numpy(np.linspace(0, 1, 24).reshape(12, 2))
    assert hf(one, nn.MSELoss(), product_method=method).step(X, t) == hf(
        other, nn.MSELoss(), product_method=method
    ).step(X, t.float())


@METHODS
def test_autocast_changes_nothing(method: str) -> None:
    """The step is in the weights' precision."""
    one, other = mlp(), mlp()
    expected = hf(one, product_method=method).step(X, T)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert hf(other, product_method=method).step(X, T) == expected


@METHODS
def test_the_default_device_changes_nothing(method: str) -> None:
    """Nothing is made on it."""
    one, other = mlp(), mlp()
    expected, made = hf(one, product_method=method).step(X, T), hf(other, product_method=method)
    torch.set_default_device("meta")
    try:
        result = made.step(X, T)
        ritz = result.blocks[0].ritz_max
    finally:
        torch.set_default_device(None)
    assert result == expected
    assert ritz == expected.blocks[0].ritz_max


class Two(nn.Module):
    """Takes two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 3)

    def forward(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
        """Run it."""
        result: Tensor = self.dense(x * y * scale)
        return result


def test_several_inputs_are_passed_by_position_or_by_name() -> None:
    """A tuple and a dictionary give the update of their product as the one input; options are passed on."""
    found = []
    for inputs in ((X, X + 1), {"x": X, "y": X + 1}, {"y": X + 1, "x": X, "scale": 1.0}):
        torch.manual_seed(0)
        model = Two()
        hf(model, adaptive_damping=True, preconditioner=True).step(inputs, T)
        found.append(weights(model))
    torch.manual_seed(0)
    one = nn.Linear(3, 3)
    hf(one, product_method="autograd", adaptive_damping=True, preconditioner=True).step(X * (X + 1), T)
    for each in found:
        torch.testing.assert_close(each, weights(one))
    torch.manual_seed(0)
    model = Two()
    FirstOrder(model, nn.CrossEntropyLoss(), torch.optim.SGD).step((X, X), T)


@pytest.mark.parametrize("inputs", [X.numpy(), (X, X[:5]), {}, ()])
def test_inputs_that_are_no_batch_are_refused(inputs: Any) -> None:
    """The error says what they must be."""
    for made in (hf(Two()), FirstOrder(Two(), nn.CrossEntropyLoss(), torch.optim.SGD)):
        with pytest.raises(BatchError, match="tensor"):
            made.step(inputs, T)


@METHODS
@pytest.mark.parametrize("options", [{}, {"line_search": True, "adaptive_damping": True, "backtracking": True}])
def test_a_batch_with_nan_changes_nothing(method: str, options: dict[str, Any]) -> None:
    """Weights, state and settings stay, the result says so, and the next batch is as if it had not been."""
    one, other = mlp(), mlp()
    first, second = (hf(m, product_method=method, **options) for m in (one, other))
    assert first.step(X, T) == second.step(X, T)
    bad = X.clone()
    bad[11] = math.nan
    before = weights(one)
    result = first.step(bad, T)
    assert math.isnan(result.loss)
    assert {b.stop_reason for b in result.blocks} == {StopReason.DIVERGED}
    assert result.step_norm == 0
    assert torch.equal(weights(one), before)
    assert first.step(X, T) == second.step(X, T)


@pytest.mark.parametrize(
    ("key", "value"),
    [("damping", -1.0), ("damping", math.nan), ("lr", math.nan), ("lr", -0.1), ("max_cg_iterations", 0),
     ("max_cg_iterations", 5.5), ("warm_start", 2.0), ("cg_tolerance", 0.0), ("cg_stop", "never")],
)  # fmt: skip
def test_values_are_checked_at_each_step(key: str, value: Any) -> None:
    """An error names the key and the value, and changes nothing."""
    case = make("autoencoder")
    made = optimizer(case)
    made.step(case.inputs, case.targets)
    before = weights(case.model)
    made.param_groups[1][key] = value
    with pytest.raises(ValueError, match=f"{key} is {value}|{key} is '{value}'"):
        made.step(case.inputs, case.targets)
    assert torch.equal(weights(case.model), before)


def test_numbers_of_numpy_and_torch_are_taken() -> None:
    """As settings, and in `param_groups`."""
    made = hf(mlp(), damping=np.float32(0.1), learning_rate=np.float64(0.5), max_cg_iterations=np.int64(5))
    made.step(X, T)
    made.param_groups[0] |= {"lr": torch.tensor(0.1), "damping": np.float32(0.2), "max_cg_iterations": np.int32(3)}
    assert made.step(X, T).blocks[0].cg_iterations == 3
    made.param_groups[0]["lr"] = 0  # as schedulers with a warm-up begin
    assert made.step(X, T).step_norm == 0


class Optional(nn.Module):
    """A branch that runs only where an example asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.extra = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        h: Tensor = self.main(x)
        flag = x[:, :1] > 0.5
        return h + flag * self.extra(x) if bool(flag.any()) else h


@pytest.mark.parametrize("blocks", [[["main", "extra"]], [["main"], ["extra"]]])
def test_a_part_that_the_curvature_batch_does_not_reach_has_no_curvature(blocks: list[list[str]]) -> None:
    """It goes by -g / d there; where S_g does not reach it either, it stays."""
    torch.manual_seed(0)
    model = Optional().double()
    x = torch.rand(12, 3, dtype=torch.float64)
    x = x[x[:, 0].argsort()]
    options: dict[str, Any] = {"curvature_batch": 4, "learning_rate": 1.0, "damping": 0.1, "max_cg_iterations": 100}
    made = BlockHessianFree(model, nn.CrossEntropyLoss(), blocks, **options, warm_start=0.0)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), T), model.extra.weight)
    before = model.extra.weight.detach().clone()
    made.step(x, T)
    torch.testing.assert_close(model.extra.weight.detach() - before, -gradient / 0.1)
    before = model.extra.weight.detach().clone()
    made.step(x[:6] * 0.4, T[:6])
    assert torch.equal(model.extra.weight, before)


class Forces(nn.Module):
    """Differentiates an energy by its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the forces."""
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return -gradient


def test_a_forward_that_differentiates_is_tried_too() -> None:
    """Adaptive damping changes nothing of the first step."""
    found = []
    for adaptive in (False, True):
        torch.manual_seed(0)
        model = Forces().double()
        hf(model, SquaredError(), adaptive_damping=adaptive).step(X.double(), -2 * X.double())
        found.append(weights(model))
    assert torch.equal(*found)


class Distances(nn.Module):
    """Uses an operation without a second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.out = nn.Parameter(torch.rand(5, 3)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.out(torch.exp(-torch.cdist(x, self.centres)))
        return result


class Centred(nn.Module):
    """Changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        x -= 0.5
        result: Tensor = self.dense(x)
        return result


NOISE: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda h: torch.normal(h, 1.0),
    "gumbel": nn.functional.gumbel_softmax,
    "randperm": lambda h: h[:, torch.randperm(h.shape[1])],
    "poisson": lambda h: h + torch.poisson(h.detach().abs()),
    "exponential": lambda h: h + torch.empty_like(h).exponential_(),
    "numpy": lambda h: h * float(np.random.default_rng().random()),
}


class Noisy(nn.Module):
    """A layer with noise."""

    def __init__(self, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.dense, self.noise = nn.Linear(3, 3), noise

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return self.noise(self.dense(x))


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_named(name: str) -> None:
    """Whatever draws it."""
    with pytest.raises(ModelError, match="random"):
        hf(Noisy(NOISE[name])).step(X, T)


@pytest.mark.parametrize(
    ("model", "says", "inputs"),
    [
        (Distances(), "cannot be differentiated twice", X),
        (Centred(), "in place", X),
        (nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3)), "in place", X),
        (nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Flatten(), nn.Linear(12, 3)), "'0' has sparse", None),
    ],
)
def test_what_cannot_work_says_what_to_do(model: nn.Module, says: str, inputs: Tensor | None) -> None:
    """One error, before any weight changes; the batch stays as it was."""
    x, before = (torch.randint(7, (12, 3)) if inputs is None else inputs.clone()), weights(model)
    given = x.clone()
    with pytest.raises(ModelError, match=says):
        hf(model).step(x, T)
    assert torch.equal(weights(model), before)
    assert torch.equal(x, given)


def test_first_contact() -> None:
    """Parameters in place of the model, a text in place of a list, class numbers out of bounds, a partial batch."""
    with pytest.raises(ModelError, match="give the module"):
        hf(mlp().parameters())
    with pytest.raises(PartitionError, match="list of layer names"):
        BlockHessianFree(mlp(), nn.CrossEntropyLoss(), ["0", "2"], curvature_batch=6)
    with pytest.raises(PartitionError):
        hf(mlp()).add_param_group({"params": [nn.Parameter(X)]})
    with pytest.raises(BatchError, match="drop_last"):
        hf(mlp()).step(X[:4], T[:4])
    with pytest.raises(BatchError, match="targets are list"):
        hf(mlp()).step(X, [0] * 12)  # type: ignore[arg-type]  # the point
    with pytest.raises(LossError, match=r"give an object, CrossEntropyLoss\(\)"):
        hf(mlp(), nn.CrossEntropyLoss)
    with pytest.raises(BatchError, match="needs equal shapes"):
        hf(mlp(1), nn.MSELoss()).step(X, X[:, 0])
    with pytest.raises(ModelError, match="inference_mode"), torch.inference_mode():
        hf(mlp()).step(X, T)


def test_containers_stand_for_their_layers() -> None:
    """Blocks by the names of an autoencoder's halves."""
    case = make("autoencoder")
    made = BlockHessianFree(case.model, case.loss, [["0"], ["1"]], curvature_batch=8)
    assert [list(block.layers) for block in made.blocks] == case.blocks
