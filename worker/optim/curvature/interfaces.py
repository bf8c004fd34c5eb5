"""Interfaces: a block's products end at a step h below the outputs, and the layers above h are passed once per update.

G_b v = J_h' M J_h v, with h a step through whose single value everything from the block to the outputs passes,
J_h = dh/dw_b, D = df/dh and M = D' H_l D per example. D does not change during a solve. M is stored as the matrix
itself, N x k x k, where h (k numbers per example) is narrower than the outputs; else as its square root R, M = R' R, C
x N x k with C the columns of the loss's square root.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from worker.optim.curvature.graph import Path
from worker.optim.curvature.traced_batch import TracedBatch


@dataclass(frozen=True)
class InterfaceHessian:
    """M itself, N x k x k: for an interface narrower than the outputs."""

    path: Path
    matrix: Tensor

    @property
    def flops(self) -> int:
        """Operations of one application."""
        return 2 * self.matrix.numel()

    def apply(self, tangent: Tensor) -> Tensor:
        """Return M h', as rows: torch's batched product with a column is several times slower on a CPU."""
        return torch.bmm(tangent.flatten(1).unsqueeze(1), self.matrix.transpose(1, 2)).view(tangent.shape)


@dataclass(frozen=True)
class InterfaceSquareRoot:
    """R with M = R' R, C x N x k: for an interface wider than the loss's square root has columns.

    order: the dimensions of h in the order of their strides, so that a tangent can be viewed as N x k without a copy.
    """

    path: Path
    rows: Tensor
    order: tuple[int, ...]

    @property
    def flops(self) -> int:
        """Operations of one application."""
        return 4 * self.rows.numel()

    def apply(self, tangent: Tensor) -> Tensor:
        """Return R' R h', one column of the square root after the other: each is contiguous in memory."""
        moved = tangent.permute(self.order)
        seen = torch.bmm(moved.flatten(1).unsqueeze(1), self.rows.permute(1, 2, 0)).squeeze(1)
        first, *others = zip(self.rows.unbind(), seen.t().unsqueeze(2).unbind(), strict=True)
        result = torch.mul(*first)
        for row, weight in others:
            torch.addcmul(result, row, weight, out=result)
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return result.view(moved.shape).permute(back)


@dataclass(frozen=True)
class Interface:
    """A step h at which a block can end, and what that costs.

    Attributes:
        step: h.
        width: k, numbers of one example's h.
        narrow: whether M itself is stored, else R.
        setup_flops: operations of matrix products of making M or R.
        flops: operations of one application.
        entries: numbers in M, which each product reads once, or in R, which it reads twice.
        setup_points: numbers that the passes above h multiply element by element.
    """

    step: int
    width: int
    narrow: bool
    setup_flops: int
    flops: int
    entries: int
    setup_points: int

    @property
    def reads(self) -> int:
        """Numbers that each product reads beside the activations."""
        return self.entries if self.narrow else 2 * self.entries


def interfaces(batch: TracedBatch, names: tuple[str, ...], *, rank: int) -> list[Interface]:
    """Return the steps at which a block can end.

    Args:
        batch: the model linearized at S_c.
        names: the block's parameters.
        rank: columns of the loss's square root; 0: it is not available, and only narrow interfaces are.
    """
    linearization, graph = batch.linearization, batch.linearization.graph
    outputs, count = prod(linearization.outputs.shape[1:]), len(linearization.outputs)
    rank = rank or outputs
    found = []
    for step in graph.interfaces(names):
        width = prod(linearization.shapes[step])
        passed = graph.path_above(step)
        above = linearization.tangent_flops(passed)
        narrow = width < outputs
        setup = width * above + 2 * count * width * width * outputs if narrow else rank * above
        entries = count * width * (width if narrow else rank)
        points = min(width, rank) * linearization.points(passed)
        found.append(Interface(step, width, narrow, setup, (2 if narrow else 4) * entries, entries, points))
    return found


def build(
    batch: TracedBatch, names: tuple[str, ...], interface: Interface, *, memory: int
) -> InterfaceHessian | InterfaceSquareRoot:
    """Pass the layers above the interface: forward with its unit vectors, or back with the loss's square root.

    Args:
        batch: the model linearized at S_c.
        names: the block's parameters.
        interface: where the block ends, one of `interfaces`.
        memory: the stack of vectors is cut so that a chunk's activations stay near this size [bytes].
    """
    path = batch.linearization.graph.path(names, end=interface.step)
    above = batch.linearization.graph.path_above(interface.step)
    if not interface.narrow:
        return _square_root(batch, path, above, memory)
    stack = torch.cat(list(_narrow(batch, above, interface, memory)))
    curved = batch.hessian_product(stack).flatten(2)
    return InterfaceHessian(path, torch.bmm(stack.flatten(2).transpose(0, 1), curved.permute(1, 2, 0)))


def _narrow(batch: TracedBatch, above: Path, interface: Interface, memory: int) -> Iterator[Tensor]:
    """Tangents of the outputs along each unit vector of h, K x N x outputs."""
    outputs = batch.linearization.outputs
    shape = batch.linearization.shapes[interface.step]
    units = torch.eye(interface.width, dtype=outputs.dtype, device=outputs.device)
    for part in units.split_with_sizes(batch.linearization.stack_sizes(above, interface.width, memory=memory)):
        seed = part.view(len(part), 1, *shape).expand(len(part), len(outputs), *shape)
        yield batch.linearization.tangent(above, {}, seed=seed)


def _square_root(batch: TracedBatch, path: Path, above: Path, memory: int) -> InterfaceSquareRoot:
    """Cotangents of h from each column of the loss's square root, written into R chunk by chunk."""
    root, done = batch.square_root, 0
    for part in root.split_with_sizes(batch.linearization.stack_sizes(above, len(root), memory=memory)):
        found = batch.linearization.backward(above, part, {})
        assert found is not None
        if not done:
            sizes = range(1, found.dim() - 1)
            order = (0, *sorted(sizes, key=lambda d: found.stride(d + 1), reverse=True))
            rows = found.new_empty(len(root), found.shape[1], found[0, 0].numel())
        moved = found.permute(0, *[d + 1 for d in order])
        rows[done : done + len(part)].view(moved.shape).copy_(moved)
        done += len(part)
    return InterfaceSquareRoot(path, rows, order)
