"""Tests of the emulation of TF32."""

import torch

from tests.benchmarks.tf32 import Tf32, emulated, rounded
from worker.optim import BlockHessianFree, SquaredError


def test_ten_bits_of_the_fraction_stay() -> None:
    """Numbers of 10 bits are kept, others go to the nearest, ties to the even one; infinities and NaN stay."""
    step = 2.0**-10
    x = torch.tensor([1 + step, 1 + 0.4 * step, 1 + 0.6 * step, 1 + 0.5 * step, 1 + 1.5 * step, -3.0, torch.inf])
    expected = torch.tensor([1 + step, 1.0, 1 + step, 1.0, 1 + 2 * step, -3.0, torch.inf])
    assert torch.equal(rounded(x), expected)
    assert rounded(torch.tensor([torch.nan])).isnan().all()


def test_factors_of_matrix_products_are_rounded() -> None:
    """mm, addmm into its output and convolutions round their factors, not what is added; float64 is left alone."""
    torch.manual_seed(0)
    a, b, c = torch.randn(5, 6), torch.randn(6, 7), torch.randn(5, 7)
    x, w = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    out, expected = torch.empty(5, 7), torch.addmm(c, rounded(a), rounded(b))
    with Tf32():  # type: ignore[no-untyped-call]  # torch's
        torch.addmm(c, a, b, out=out)
        product, layer, wide = a @ b, torch.conv2d(x, w), a.double() @ b.double()
    assert torch.equal(out, expected)
    assert torch.equal(product, rounded(a) @ rounded(b))
    assert torch.equal(layer, torch.conv2d(rounded(x), rounded(w)))
    assert torch.equal(wide, a.double() @ b.double())


def test_only_the_solves_are_emulated() -> None:
    """BHF's gradient is the same, its solution another, within TF32's accuracy."""
    torch.manual_seed(0)
    x, start = torch.randn(20, 6), torch.nn.Linear(6, 4)
    found = []
    for emulate in (False, True):
        model = torch.nn.Linear(6, 4)
        model.load_state_dict(start.state_dict())
        made = BlockHessianFree(
            model, SquaredError(), [[""]], curvature_batch=10, damping=0.1, product_method="products"
        )
        if emulate:
            with emulated():
                result = made.step(x, x[:, :4])
        else:
            result = made.step(x, x[:, :4])
        found.append((result.gradient_norm, model.weight.detach() - start.weight.detach()))
    (norm, plain), (same, coarse) = found
    assert norm == same
    assert not torch.equal(plain, coarse)
    torch.testing.assert_close(coarse, plain, rtol=0.05, atol=0.01 * plain.abs().max().item())
