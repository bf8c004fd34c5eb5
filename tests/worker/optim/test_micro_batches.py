"""A gradient batch in micro-batches, and a curvature batch of its own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.worker.optim.cases import make, optimizer, weights
from tests.worker.optim.networks import NETWORKS
from tests.worker.optim.reference import Dense
from worker.optim import (
    BatchError,
    BlockHessianFree,
    HessianFree,
    ModelError,
    SoftmaxCrossEntropy,
    SquaredError,
    as_loss,
)
from worker.optim.curvature import traced_model
from worker.optim.curvature.model_choice import ModelChoice

METHODS = pytest.mark.parametrize("method", ["auto", "autograd"])
N = 23
X = torch.rand(N, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
CLASSES, VALUES = torch.arange(N) % 4, X[:, :4] - X[:, 2:]
TRIALS = {"line_search": True, "adaptive_damping": True, "backtracking": True, "preconditioner": True}


def network() -> Any:
    """Two dense layers, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def weighted() -> nn.Module:
    """A mean with unequal weights."""
    return nn.CrossEntropyLoss(weight=torch.tensor([0.1, 5.0, 1.0, 2.0], dtype=torch.float64))


def ranked(outputs: Tensor, targets: Tensor) -> Tensor:
    """Weigh examples by their targets."""
    return ((outputs - targets).square().sum(1) * targets[:, 0].exp()).sum() / targets[:, 0].exp().sum()


LOSSES: dict[str, tuple[Any, Tensor]] = {
    "plain": (SoftmaxCrossEntropy(), CLASSES),
    "square": (SquaredError(), VALUES),
    "weighted": (weighted(), CLASSES),
    "function": (ranked, VALUES),
}


@METHODS
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("sizes", "options"), [([9, 9, 5], {}), ([3, 20], TRIALS)])
def test_micro_batches_give_the_update_of_the_whole_batch(
    name: str, method: str, sizes: list[int], options: dict[str, Any]
) -> None:
    """Whatever the loss's reduction and wherever S_c ends, over two updates, trials included."""
    loss, targets = LOSSES[name]
    found = []
    for cut in (False, True):
        model = network()
        made = BlockHessianFree(
            model, loss, [["0"], ["2"]], curvature_batch=5, damping=1.0, max_cg_iterations=5,
            product_method=method, **options,
        )  # fmt: skip
        parts = zip(torch.split(X, sizes), torch.split(targets, sizes), strict=True)
        made.step(*(([*parts],) if cut else (X, targets)))
        parts = zip(torch.split(X, sizes), torch.split(targets, sizes), strict=True)
        found.append((made.step(*((parts,) if cut else (X, targets))), weights(model)))
    (one, whole), (other, cut_weights) = found
    torch.testing.assert_close(cut_weights, whole, rtol=1e-12, atol=1e-12)
    assert other.loss == pytest.approx(one.loss, rel=1e-12)
    assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-12)
    assert (other.scale, other.iteration, other.evaluations) == (one.scale, one.iteration, one.evaluations)
    if method == "auto":
        assert other.cost == pytest.approx(one.cost)


@METHODS
@pytest.mark.parametrize("name", NETWORKS)
def test_micro_batches_of_other_networks(name: str, method: str) -> None:
    """Convolutions and recurrences, with micro-batches that are cut further to fit the memory."""
    found = []
    for sizes in ([12], [5, 7], [1] * 12):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            case = NETWORKS[name]()
        parts = zip(torch.split(case.inputs, sizes), torch.split(case.targets, sizes), strict=True)
        result = optimizer(case, damping=1.0, product_method=method, line_search=True).step(parts)
        found.append((weights(case.model), result.loss))
    for each, loss in found[1:]:
        torch.testing.assert_close(each, found[0][0], rtol=1e-12, atol=1e-12)
        assert loss == pytest.approx(found[0][1], rel=1e-12)


@pytest.mark.parametrize("given_whole", [False, True])
def test_trials_take_chunks_that_fit_the_memory(monkeypatch: pytest.MonkeyPatch, given_whole: bool) -> None:
    """No trial runs on more examples than fit, and the update stays that of the whole batch."""
    found, seen = [], []
    outputs = ModelChoice._outputs

    def watched(self: ModelChoice, x: Tensor) -> Tensor:
        seen.append(len(x))
        return outputs(self, x)

    batch: Any = (X, CLASSES) if given_whole else ([(X[:13], CLASSES[:13]), (X[13:], CLASSES[13:])],)
    for limit in (traced_model.ACTIVATION_BYTES, 8 * 8 * (6 + 8 + 8)):
        monkeypatch.setattr(traced_model, "ACTIVATION_BYTES", limit)
        monkeypatch.setattr(ModelChoice, "_outputs", watched)
        seen.clear()
        model = network()
        made = HessianFree(model, SoftmaxCrossEntropy(), curvature_batch=3, damping=1.0, line_search=True)
        assert made.step(*batch).evaluations
        found.append(weights(model))
    assert max(seen) == 4
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


@METHODS
@pytest.mark.parametrize("cut", [False, True])
def test_a_curvature_batch_of_its_own(method: str, cut: bool) -> None:
    """The gradient is that of S_g, the matrix that of the other examples."""
    model, loss = network(), as_loss(weighted())
    other, labels = torch.flip(X, [1])[:6], (CLASSES[:6] + 1) % 4
    gradient = Dense.of(model, loss, X, CLASSES, curvature_batch=1).gradient
    matrix = Dense.of(model, loss, other, labels, curvature_batch=6).matrix
    expected = torch.linalg.solve(matrix + 0.1 * torch.eye(len(gradient), dtype=torch.float64), -gradient)
    made = HessianFree(
        model, loss, curvature_batch=1, learning_rate=1.0, damping=0.1, max_cg_iterations=300, product_method=method
    )
    before = weights(model)
    batch: Any = (list(zip(torch.split(X, 8), torch.split(CLASSES, 8), strict=True)),) if cut else (X, CLASSES)
    result = made.step(*batch, curvature=(other, labels))
    torch.testing.assert_close(weights(model) - before, expected, rtol=1e-8, atol=1e-10)
    assert result.loss == pytest.approx(weighted()(network()(X), CLASSES).item())
    assert result.cost > 1


def test_a_loader_is_a_batch() -> None:
    """Its lists of two tensors are taken; inputs may be tuples and dictionaries, too."""
    case = make("uncovered")
    whole = make("uncovered")
    expected = optimizer(whole).step(whole.inputs, whole.targets)
    found = optimizer(case).step(DataLoader(TensorDataset(case.inputs, case.targets), batch_size=5))
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    torch.testing.assert_close(weights(case.model), weights(whole.model), rtol=1e-12, atol=1e-12)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(6, 4)

        def forward(self, x: Tensor, scale: float) -> Tensor:
            result: Tensor = self.dense(x) * scale
            return result

    moved = []
    for inputs in ({"x": X, "scale": 2.0}, (X, 2.0)):
        for cut in (False, True):
            torch.manual_seed(0)
            model = Named().double()
            made = HessianFree(model, SoftmaxCrossEntropy(), curvature_batch=10, damping=0.1)
            if cut:
                rows = [{**inputs, "x": x} if isinstance(inputs, dict) else (x, inputs[1]) for x in torch.split(X, 8)]
                made.step(list(zip(rows, torch.split(CLASSES, 8), strict=True)))
            else:
                made.step(inputs, CLASSES)
            moved.append(weights(model))
    for each in moved[1:]:
        torch.testing.assert_close(each, moved[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ((X,), "targets are missing"),
        (([],), "no micro-batch"),
        (([X, X],), "micro-batch 0 is Tensor"),
        (([(X, CLASSES[:3])],), "23 inputs and 3 targets"),
        (([(X[:2], CLASSES[:2])] * 2,), "curvature_batch is 5"),
        (([(X[:2], CLASSES[:2]), (X[:9, :3], CLASSES[:9])],), "different shapes"),
    ],
)
def test_what_is_no_batch_is_refused(batch: Any, says: str) -> None:
    """The error says what must be passed; nothing changes."""
    model = network()
    with pytest.raises(BatchError, match=says):
        HessianFree(model, SoftmaxCrossEntropy(), curvature_batch=5).step(*batch)
    assert torch.equal(weights(model), weights(network()))


def test_outputs_of_different_lengths_need_padding() -> None:
    """A loss that is no plain mean compares all outputs together."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Flatten(1)).double()
    parts = [(torch.rand(6, length, 6, dtype=torch.float64), torch.zeros(6, 4 * length)) for length in (2, 3)]
    with pytest.raises(BatchError, match="pad them"):
        HessianFree(model, nn.MSELoss(), curvature_batch=5, product_method="autograd").step(parts)


@METHODS
def test_a_micro_batch_with_nan_changes_nothing(method: str) -> None:
    """As a whole batch with NaN."""
    model, bad = network(), X.clone()
    bad[20] = torch.nan
    result = HessianFree(model, SoftmaxCrossEntropy(), curvature_batch=5, product_method=method).step(
        zip(torch.split(bad, 8), torch.split(CLASSES, 8), strict=True)
    )
    assert result.step_norm == 0
    assert torch.equal(weights(model), weights(network()))


class Experts(nn.Module):
    """A branch that runs only where an example asks for it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.main, self.extra = nn.Linear(6, 4), nn.Linear(6, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        flag = x[:, :1] > 0.5
        h: Tensor = self.main(x)
        return h + flag * self.extra(x) if bool(flag.any()) else h


def test_a_branch_that_one_micro_batch_reaches_is_trained() -> None:
    """As in the whole batch; one that no micro-batch reaches is named."""
    x = X[X[:, 0].argsort()]
    found = []
    for sizes in ([N], [4, 5, 14]):
        model = Experts()
        made = HessianFree(model, nn.CrossEntropyLoss(), curvature_batch=4, damping=0.1)
        for _ in range(2):
            made.step(zip(torch.split(x, sizes), torch.split(CLASSES, sizes), strict=True))
        found.append(weights(model))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
    made = HessianFree(Experts(), nn.CrossEntropyLoss(), curvature_batch=4, damping=0.1)
    with pytest.raises(ModelError, match=r"'extra\.weight' is not reached"):
        made.step(zip(torch.split(0.4 * x, 12), torch.split(CLASSES, 12), strict=True))


@METHODS
def test_gradients_of_other_loops_stay(method: str) -> None:
    """p.grad is not touched, whatever the form of the step."""
    model = network()
    torch.autograd.backward(nn.functional.cross_entropy(model(X), CLASSES))
    before = [(p.grad, p.grad.clone()) for p in model.parameters()]
    made = HessianFree(model, nn.CrossEntropyLoss(), curvature_batch=5, damping=0.1, product_method=method)
    made.step(X, CLASSES)
    made.step([(X, CLASSES), (X, CLASSES)])
    made.step(lambda: _classified(model), curvature=lambda: _classified(model))
    for p, (stored, values) in zip(model.parameters(), before, strict=True):
        assert p.grad is stored
        assert torch.equal(stored, values)


def _classified(model: nn.Module) -> tuple[Tensor, Tensor]:
    outputs = model(X)
    return nn.functional.cross_entropy(outputs, CLASSES), outputs
