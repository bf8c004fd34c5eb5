"""Does the precision of conjugate gradient's inner products decide between BHF and HF with a small curvature batch?

python -m tests.benchmarks.inner_products [--updates 100] [--every 10] [--folder .]

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

from backend.schemas import BlockHessianFree, CurvatureWay, HessianFree
from backend.settings import Settings
from tests.benchmarks.time_to_target import GRADIENT_BATCH, course
from worker.device import threads
from worker.optim.cg import FlatInner
from worker.problems.data import Dataset, mnist

CURVATURE_BATCH = 100
SHOWN = 5000


@contextmanager
def plain() -> Iterator[None]:
    """Take inner products of float32 vectors in float32."""

    def inner(self: FlatInner, left: Tensor, right: Tensor) -> Tensor:  # noqa: ARG001 - a method
        return torch.dot(left, right).double()

    with patch.object(FlatInner, "inner", inner):
        yield


def errors(
    kind: type[BlockHessianFree | HessianFree], data: Dataset, *, updates: int, every: int
) -> list[tuple[int, float]]:
    """Train; return updates done and train errors."""
    optimizer = kind(
        gradient_batch=GRADIENT_BATCH, curvature_batch=CURVATURE_BATCH, curvature_way=CurvatureWay.PRODUCTS
    )
    chosen = argparse.Namespace(seed=0, subset=SHOWN, max_seconds=float("inf"))
    points = course(optimizer, data, updates=updates, every=every, target=None, chosen=chosen)
    return [(point.updates, point.error) for point in points]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all four and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Settings().home / "data", help="where the data set is kept")
    chosen = parser.parse_args(arguments)
    data = mnist.load(chosen.folder)
    with threads(1):
        for kind in (BlockHessianFree, HessianFree):
            in_full = errors(kind, data, updates=chosen.updates, every=chosen.every)
            with plain():
                in_float32 = errors(kind, data, updates=chosen.updates, every=chosen.every)
            for name, found in (("float64", in_full), ("float32", in_float32)):
                print(kind.__name__, name, ", ".join(f"{updates}: {error:.2f}" for updates, error in found))


if __name__ == "__main__":
    main()
