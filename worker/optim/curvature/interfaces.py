"""What stands in the middle of G_b: the loss's Hessian at the outputs, or its pull-back to where the block ends.

G_b v = J_h' M J_h v with h a step below the outputs through which all of the block passes, J_h = dh/dw_b, D = df/dh and
M = D' H_l D per example. D does not change during a solve, so the layers above h are passed once per update and not
in each product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worker.optim.curvature.graph import Path

if TYPE_CHECKING:
    from worker.optim.curvature.traced_model import WrittenBatch


@dataclass(frozen=True)
class OutputHead:
    """J' H_l J: the path ends at the outputs."""

    batch: "WrittenBatch"
    path: Path
    flops: int = 0

    def apply(self, tangent: Tensor) -> Tensor:
        """Return H_l times the outputs' tangent."""
        return self.batch.hessian_product(tangent)


@dataclass(frozen=True)
class SquareHead:
    """M itself, N x k x k, k the length of one example's h: for an interface narrower than the outputs."""

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
class RootHead:
    """R with M = R' R, C x N x k: for an interface wider than the loss's root.

    order: the dimensions of h as they lie in memory, so that k is a view of what the layers below give and take.
    """

    path: Path
    rows: Tensor
    order: tuple[int, ...]

    @property
    def flops(self) -> int:
        """Operations of one application."""
        return 4 * self.rows.numel()

    def apply(self, tangent: Tensor) -> Tensor:
        """Return R' R h', the sum over the root's columns one by one: each is read as it lies in memory."""
        moved = tangent.permute(self.order)
        seen = torch.bmm(moved.flatten(1).unsqueeze(1), self.rows.permute(1, 2, 0)).squeeze(1)
        first, *others = zip(self.rows.unbind(), seen.t().unsqueeze(2).unbind(), strict=True)
        result = torch.mul(*first)
        for row, weight in others:
            torch.addcmul(result, row, weight, out=result)
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return result.view(moved.shape).permute(back)


Head = OutputHead | SquareHead | RootHead


@dataclass(frozen=True)
class Interface:
    """A step h at which a block can end, with the cost of ending there, in operations.

    entries: numbers in M, which each product reads once, or in R, which it reads twice. setup_points: numbers that the
    passes multiply element by element.
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


def interfaces(batch: "WrittenBatch", names: tuple[str, ...]) -> list[Interface]:
    """Return the steps at which a block can end."""
    linearization, graph = batch.linearization, batch.source.graph
    outputs, count = prod(linearization.outputs.shape[1:]), len(linearization.outputs)
    rank = len(batch.root) if batch.rooted else outputs
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


def build(batch: "WrittenBatch", names: tuple[str, ...], interface: Interface, *, memory: int) -> SquareHead | RootHead:
    """Pass the layers above the interface: forward with its unit vectors, or back with the loss's root.

    memory [bytes]: the stack of vectors is cut so that the activations of a piece stay near it.
    """
    path = batch.source.graph.path(names, head=interface.step)
    above = batch.source.graph.path_above(interface.step)
    if not interface.narrow:
        return _root_head(batch, path, above, memory)
    stack = torch.cat(list(_narrow(batch, above, interface, memory)))
    curved = batch.hessian_product(stack).flatten(2)
    return SquareHead(path, torch.bmm(stack.flatten(2).transpose(0, 1), curved.permute(1, 2, 0)))


def _narrow(batch: "WrittenBatch", above: Path, interface: Interface, memory: int) -> Iterator[Tensor]:
    """Tangents of the outputs along each unit vector of h, K x N x outputs."""
    outputs = batch.linearization.outputs
    shape = batch.linearization.shapes[interface.step]
    units = torch.eye(interface.width, dtype=outputs.dtype, device=outputs.device)
    for part in units.split_with_sizes(batch.linearization.pieces(above, interface.width, memory=memory)):
        seed = part.view(len(part), 1, *shape).expand(len(part), len(outputs), *shape)
        yield batch.linearization.tangent(above, {}, seed=seed)


def _root_head(batch: "WrittenBatch", path: Path, above: Path, memory: int) -> RootHead:
    """Cotangents of h from each column of the loss's root, written into R piece by piece."""
    root, done = batch.root, 0
    for part in root.split_with_sizes(batch.linearization.pieces(above, len(root), memory=memory)):
        found = batch.linearization.backward(above, part, {})
        assert found is not None
        if not done:
            sizes = range(1, found.dim() - 1)
            order = (0, *sorted(sizes, key=lambda d: found.stride(d + 1), reverse=True))
            rows = found.new_empty(len(root), found.shape[1], found[0, 0].numel())
        moved = found.permute(0, *[d + 1 for d in order])
        rows[done : done + len(part)].view(moved.shape).copy_(moved)
        done += len(part)
    return RootHead(path, rows, order)
