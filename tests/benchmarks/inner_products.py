"""Does the precision of conjugate gradient's inner products decide between BHF and HF with a small curvature batch?

python -m tests.benchmarks.inner_products [--updates 100] [--every 10] [--max-cg-iterations 30] [--folder .]

The deep autoencoder on the complete MNIST training set at the paper's settings, gradient batch 2,000, curvature batch
100, one thread, seed 0; every block by products, whose vectors are float32. Prints the train error (squared error, sum
over the pixels, mean over the first 5,000 images) after every so many updates of BHF and HF, with inner products
accumulated in float64, as the optimizers do, and in plain float32.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from backend.schemas.optimizers import BlockHessianFree, HessianFree, ProductMethod
from backend.settings import Settings
from tests.benchmarks.time_to_target import course
from worker.optim.solver.cg import FlatInner
from worker.problems.data import Dataset
from worker.problems.data.idx_data import MNIST
from worker.training.device import threads


@contextmanager
def plain() -> Iterator[None]:
    """Take inner products of float32 vectors in float32."""

    def inner(self: FlatInner, left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG001 - a method
        return torch.dot(left, right).double()

    with patch.object(FlatInner, "inner", inner):
        yield


def errors(kind: type[BlockHessianFree | HessianFree], data: Dataset, chosen: argparse.Namespace) -> str:
    """Train; return updates done and train errors."""
    optimizer = kind(
        gradient_batch=chosen.gradient_batch,
        curvature_batch=chosen.curvature_batch,
        max_cg_iterations=chosen.max_cg_iterations,
        product_method=ProductMethod.PRODUCTS,
    )
    points = course(optimizer, data, updates=chosen.updates, every=chosen.every, target=None, chosen=chosen)
    return ", ".join(f"{point.updates}: {point.error:.2f}" for point in points)


def options() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--updates", type=int, default=100)
    add("--every", type=int, default=10)
    add("--gradient-batch", type=int, default=2000)
    add("--curvature-batch", type=int, default=100)
    add("--max-cg-iterations", type=int, default=30)
    add("--subset", type=int, default=5000, help="training images over which the error is taken")
    add("--seed", type=int, default=0)
    add("--folder", type=Path, default=Settings().home / "data", help="where the data set is kept, or fetched to")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all four and print."""
    chosen = options().parse_args(arguments)
    data = MNIST.load(chosen.folder)
    with threads(1):
        for kind in (BlockHessianFree, HessianFree):
            print(kind.__name__, "float64", errors(kind, data, chosen))
            with plain():
                print(kind.__name__, "float32", errors(kind, data, chosen))


if __name__ == "__main__":
    main()
