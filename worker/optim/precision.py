"""The precision in which curvature products are computed, and float32 in general on CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PRECISIONS = ("full", "tf32", "bfloat16")
"""full: that of the weights. tf32: factors of float32 products rounded to 11 bits on CUDA; elsewhere as full. bfloat16:
vectors, activations and weights of the layers rounded to 8 bits; an interface's matrix, the loss's Hessian and
conjugate gradient in full precision. `python -m tests.benchmarks.precision` measures the effect on the solutions."""


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Compute float32 matrix products and convolutions on CUDA as TF32, or in full.

    Full precision is set too, because torch lets convolutions round to TF32 by default.
    """
    backends: Any = torch.backends  # whose annotations leave cudnn.conv out
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
