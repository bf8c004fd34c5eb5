"""The preconditioner's diagonal against gradients taken example by example."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from tests.worker.optim.cases import CASES, make
from worker.optim import PeepholeLSTM, SoftmaxCrossEntropy, layer_names
from worker.optim.blocks import make_blocks
from worker.optim.curvature.autograd_model import AutogradModel
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.losses import Loss
from worker.optim.solver.preconditioner import DiagonalPreconditioner

CURVATURE = 5


class Last(nn.Module):
    """Takes the last step of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return x[:, -1]


LAYERS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "sequence": lambda: (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3)), torch.rand(7, 3, 4)),
    "convolution": lambda: (
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.Tanh(), nn.Conv2d(4, 4, 2, groups=2, bias=False), nn.Flatten(),
            nn.Linear(16, 3),
        ),
        torch.rand(7, 2, 5, 5),
    ),
    "lstm": lambda: (
        nn.Sequential(PeepholeLSTM(2, 3), PeepholeLSTM(3, 3), Last(), nn.Linear(3, 3)), torch.rand(7, 4, 2),
    ),
}  # fmt: skip


def expected(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Differentiate each example's loss on its own, and square."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def each(w: dict[str, Tensor]) -> Tensor:
        pairs = zip(torch.split(inputs, 1), torch.split(targets, 1), strict=True)
        return torch.stack([loss.value(functional_call(model, w, (x,)), t) for x, t in pairs])

    return {name: j.square().mean(0) for name, j in jacrev(each)(weights).items()}


def check(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, *, traced: bool) -> None:
    """Compare the squares over the first examples with the reference."""
    blocks = make_blocks(model, [layer_names(model)])
    source = TracedModel(model, loss) if traced else AutogradModel(model, loss, "")
    batch = source.linearize(inputs, targets).narrow(CURVATURE, blocks)
    found = {name: torch.full_like(p, torch.nan) for name, p in model.named_parameters()}
    batch.squares(found)
    wanted = expected(model, loss, inputs[:CURVATURE], targets[:CURVATURE])
    torch.testing.assert_close({name: found[name].detach() for name in wanted}, wanted, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "traced"), [(name, traced) for name in CASES for traced in (True, False) if name != "uncovered"]
    + [("uncovered", False)],
)  # fmt: skip
def test_squares_are_those_of_single_examples(name: str, traced: bool) -> None:
    """By traced rules and by double backward: the mean over S_c of squared per-example gradients."""
    case = make(name)
    check(case.model, case.loss, case.inputs, case.targets, traced=traced)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_squares_its_own(name: str) -> None:
    """Convolutions with stride and groups, dense layers over a sequence and peephole LSTMs too."""
    torch.manual_seed(0)
    model, inputs = LAYERS[name]()
    check(model.double(), SoftmaxCrossEntropy(), inputs.double(), torch.arange(7) % 3, traced=True)


def test_inverse_is_the_formula() -> None:
    """M^-1 r = r / (s + d)^0.75."""
    s, r = torch.tensor([0.0, 1.0, 15.0]).double(), torch.tensor([1.0, -2.0, 3.0]).double()
    found = DiagonalPreconditioner(s, 1.0)(r)
    torch.testing.assert_close(found, torch.tensor([1.0, -2 / 2**0.75, 3 / 8]).double())


@pytest.mark.parametrize("squares", [[0.0, 0.0], [0.0, 1.0], [1e-30, 1e30]])
def test_weights_without_gradient_keep_a_finite_inverse(squares: list[float]) -> None:
    """Without damping, a weight that no example moves is not divided by zero."""
    found = DiagonalPreconditioner(torch.tensor(squares), 0.0)(torch.ones(2))
    assert bool(found.isfinite().all())
    assert bool((found > 0).all())
