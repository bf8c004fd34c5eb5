"""The comparison of inner products runs, and compares what it says."""

import pytest
import torch

from tests.benchmarks import inner_products
from worker.optim.solver.cg import FlatInner
from worker.problems.data import mnist_5k


def test_plain_inner_products_are_float32() -> None:
    """Within the context a small term is lost beside a large one; outside it is not."""
    left, right = torch.tensor([1e4, 1.0]), torch.tensor([1e4, 1.0])
    with inner_products.plain():
        assert FlatInner().inner(left, right).item() == 1e8
    assert FlatInner().inner(left, right).item() == 1e8 + 1


def test_command_prints_four_courses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """BHF and HF, with both kinds, on the embedded digits."""
    monkeypatch.setattr(inner_products, "MNIST", mnist_5k.SOURCE)
    sizes = {
        "updates": 1,
        "every": 1,
        "gradient-batch": 100,
        "curvature-batch": 50,
        "max-cg-iterations": 2,
        "subset": 100,
    }
    inner_products.main([word for name, size in sizes.items() for word in (f"--{name}", str(size))])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    kinds = [
        (optimizer, inner) for optimizer in ("BlockHessianFree", "HessianFree") for inner in ("float64", "float32")
    ]
    assert [tuple(line[:2]) for line in lines] == kinds
    assert all(line[2] == "1:" and float(line[3]) > 0 for line in lines)
