"""TF32 products on a CPU: as on NVIDIA's tensor cores, operands lose 13 bits of their fraction, sums stay float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from worker.optim import hessian_free, native

DROPPED = 13
"""bits of float32's fraction (23) that TF32's (10) lacks"""
_aten = torch.ops.aten
OPERANDS = {
    _aten.mm: (0, 1), _aten.addmm: (1, 2), _aten.bmm: (0, 1), _aten.baddbmm: (1, 2),
    _aten.convolution: (0, 1), _aten.convolution_backward: (0, 1, 2),
}  # fmt: skip
"""where the factors stand among an operation's arguments; a product with one vector runs on no tensor core"""


def rounded(x: Tensor) -> Tensor:
    """Return float32 numbers rounded to TF32: to the nearest, ties to even."""
    bits = x.contiguous().view(torch.int32)
    last = (bits >> DROPPED) & 1
    return ((bits + ((1 << (DROPPED - 1)) - 1) + last) >> DROPPED << DROPPED).view(torch.float32)


class Tf32(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no types
    """Rounds the factors of every float32 product of matrices within it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation."""
        factors = OPERANDS.get(func.overloadpacket, ())
        given = [rounded(a) if place in factors and a.dtype == torch.float32 else a for place, a in enumerate(args)]
        return func(*given, **(kwargs or {}))


@contextmanager
def emulated() -> Iterator[None]:
    """Let the solves of HF and BHF have TF32 products."""
    with patch.object(hessian_free, "float32_products", lambda **_: Tf32()), native.enabled(False):  # type: ignore[no-untyped-call]  # torch's
        yield
