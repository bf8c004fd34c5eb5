"""Products with a Jacobian by a double-backward graph, stored once per curvature batch.

u -> J'u is linear, and its stored graph is differentiated by u: v -> (d(J'u)/du)' v = J v. Both graphs are reused by
all products. Source: Townsend (2017), "A new trick for calculating Jacobian vector products".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from worker.optim.blocks import Block
from worker.optim.errors import ModelError


class StoredGraph:
    """G_b v = J_b' H_l J_b v at some outputs.

    Args:
        outputs: one tensor or several, each with its graph.
        named: parameters by name, by which J differentiates.

    Raises:
        ModelError: an operation of the forward pass cannot be differentiated twice.
    """

    def __init__(self, outputs: Sequence[Tensor], named: Mapping[str, Tensor]) -> None:
        self._outputs = list(outputs)
        self._u = [torch.zeros_like(f, requires_grad=True) for f in outputs]
        parts: Sequence[Tensor | None] = [None] * len(named)
        active = [(f, u) for f, u in zip(outputs, self._u, strict=True) if f.requires_grad]
        if active:
            with torch.enable_grad(), twice_differentiable():
                found, u = zip(*active, strict=True)
                parts = torch.autograd.grad(found, list(named.values()), u, create_graph=True, allow_unused=True)
        self._transposed = {name: p for name, p in zip(named, parts, strict=True) if p is not None and p.requires_grad}

    def product(
        self, block: Block, vector: Tensor, out: Tensor, hessian: Callable[[list[Tensor]], Sequence[Tensor]]
    ) -> None:
        """Overwrite out with G_b v: v -> J_b v -> H_l J_b v -> J_b' H_l J_b v.

        Args:
            block: b, with P parameters.
            vector: v, P numbers.
            out: P numbers. They are zero for parameters that the outputs do not depend on.
            hessian: a vector for each of the outputs -> H_l times them.

        Raises:
            ModelError: an operation of the forward pass cannot be differentiated twice.
        """
        reached = [name for name in block.names if name in self._transposed]
        if not reached:
            out.zero_()
            return
        views = block.views(vector)
        with twice_differentiable():
            columns = [self._transposed[name] for name in reached]
            tangents = [views[name] for name in reached]
            jv = torch.autograd.grad(columns, self._u, tangents, retain_graph=True, allow_unused=True)
            hjv = hessian([torch.zeros_like(u) if t is None else t for t, u in zip(jv, self._u, strict=True)])
            active = [(f, h) for f, h in zip(self._outputs, hjv, strict=True) if f.requires_grad]
            found, curved = zip(*active, strict=True)
            parts = torch.autograd.grad(found, block.parameters, curved, retain_graph=True, allow_unused=True)
        for view, part in zip(block.views(out).values(), parts, strict=True):
            write(view, part)


def write(out: Tensor, part: Tensor | None) -> None:
    """Overwrite out with a gradient; None is zero."""
    if part is None:
        out.zero_()
    else:
        out.copy_(part)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Raise ModelError where torch has no second derivative of an operation."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip().partition("\n")[0]
        if "not implemented" not in text and "once_differentiable" not in text:
            raise
        raise ModelError(
            f"an operation of the forward pass cannot be differentiated twice ({text}): replace it, for example "
            "nn.EmbeddingBag by nn.Embedding and a mean, torch.cdist by one in another compute_mode"
        ) from error


@contextmanager
def differentiable_kernels(module: nn.Module) -> Iterator[None]:
    """Record gradients with kernels that can be differentiated twice: fused attention and cuDNN's recurrence cannot.

    Args:
        module: the module whose forward pass runs.
    """
    recurrent = any(isinstance(m, nn.RNNBase) for m in module.modules())
    own = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), own:
        yield
