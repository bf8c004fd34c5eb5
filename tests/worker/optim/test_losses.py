"""Closed forms against automatic differentiation, and the published unit."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev

from worker.optim import BatchError, SoftmaxCrossEntropy, SquaredError
from worker.optim.losses import Loss, RootedLoss

N, C = 5, 4
CASES = [
    (SquaredError(), torch.linspace(0, 1, N * C, dtype=torch.float64).view(N, C)),
    (SoftmaxCrossEntropy(), torch.tensor([0, 3, 1, 1, 2])),
]


def outputs() -> Tensor:
    """Fixed outputs."""
    return torch.sin(torch.arange(N * C, dtype=torch.float64)).view(N, C) * 3


@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_gradient_is_the_derivative(loss: Loss, targets: Tensor) -> None:
    """The gradient equals automatic differentiation of the value."""
    torch.testing.assert_close(loss.gradient(outputs(), targets), grad(lambda f: loss.value(f, targets))(outputs()))


@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_hessian_product_is_the_second_derivative(loss: Loss, targets: Tensor) -> None:
    """H_l v, alone or a stack of them, equals the Hessian by automatic differentiation."""
    h = jacrev(jacrev(lambda f: loss.value(f, targets)))(outputs()).view(N * C, N * C)
    stack = torch.cos(torch.arange(3 * N * C, dtype=torch.float64)).view(3, N, C)
    expected = (stack.view(3, -1) @ h).view(3, N, C)
    torch.testing.assert_close(loss.hessian_product(outputs(), targets, stack), expected)
    torch.testing.assert_close(loss.hessian_product(outputs(), targets, stack[1]), expected[1])


@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_root_squared_is_the_hessian(loss: RootedLoss, targets: Tensor) -> None:
    """The sum of S_k S_k' equals H_l, example by example."""
    root = loss.hessian_square_root(outputs(), targets)
    for i in range(N):
        unit = torch.zeros(C, N, C, dtype=torch.float64)
        unit[:, i] = torch.eye(C, dtype=torch.float64)
        expected = loss.hessian_product(outputs(), targets, unit)[:, i]
        torch.testing.assert_close(root[:, i].t() @ root[:, i], expected)


def test_squared_error_is_in_the_published_unit() -> None:
    """Squared error is the sum over outputs, the mean over images, with no factor 1/2."""
    zero, one = torch.zeros(10, 784), torch.ones(10, 784)
    assert SquaredError().value(zero, one).item() == 784


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (SquaredError(), torch.zeros(N, 1)),
        (SoftmaxCrossEntropy(), torch.zeros(N, C)),
        (SoftmaxCrossEntropy(), torch.zeros(N - 1, dtype=torch.int64)),
    ],
)
def test_targets_of_another_shape_are_refused(loss: Loss, targets: Tensor) -> None:
    """Shapes that torch would broadcast are an error that names both."""
    with pytest.raises(BatchError, match=r"outputs are \[5, 4\]"):
        loss.value(outputs(), targets)


def test_softmax_root_has_one_column_less_than_classes() -> None:
    """H_l has rank C - 1, and the root no more columns: each costs a backward pass where it is used."""
    assert len(SoftmaxCrossEntropy().hessian_square_root(outputs(), torch.zeros(N, dtype=torch.int64))) == C - 1
