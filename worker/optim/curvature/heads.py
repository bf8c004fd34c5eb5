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
    from worker.optim.curvature.written import WrittenBatch


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
        """Return M h'."""
        return torch.bmm(self.matrix, tangent.flatten(1).unsqueeze(2)).view(tangent.shape)


@dataclass(frozen=True)
class RootHead:
    """R with M = R' R, N x C x k: for an interface wider than the loss's root."""

    path: Path
    rows: Tensor

    @property
    def flops(self) -> int:
        """Operations of one application."""
        return 4 * self.rows.numel()

    def apply(self, tangent: Tensor) -> Tensor:
        """Return R' R h'."""
        seen = torch.bmm(self.rows, tangent.flatten(1).unsqueeze(2))
        return torch.bmm(self.rows.transpose(1, 2), seen).view(tangent.shape)


Head = OutputHead | SquareHead | RootHead


@dataclass(frozen=True)
class Interface:
    """A step h at which a block can end, with the cost of ending there, in operations."""

    step: int
    width: int
    narrow: bool
    setup_flops: int
    flops: int


def interfaces(batch: "WrittenBatch", names: tuple[str, ...]) -> list[Interface]:
    """Return the steps at which a block can end."""
    linearization, graph = batch.linearization, batch.source.graph
    outputs, count = prod(linearization.outputs.shape[1:]), len(linearization.outputs)
    found = []
    for step in graph.interfaces(names):
        width = prod(linearization.shapes[step])
        above = linearization.tangent_flops(graph.path_above(step))
        narrow = width < outputs
        setup = min(width, outputs) * above + (2 * count * width * width * outputs if narrow else 0)
        each = 2 * count * width * width if narrow else 4 * count * width * outputs
        found.append(Interface(step, width, narrow, setup, each))
    return found


def build(batch: "WrittenBatch", names: tuple[str, ...], interface: Interface, *, memory: int) -> SquareHead | RootHead:
    """Pass the layers above the interface: forward with its unit vectors, or back with the loss's root.

    memory [bytes]: the stack of vectors is cut so that the activations of a piece stay near it.
    """
    path = batch.source.graph.path(names, head=interface.step)
    above = batch.source.graph.path_above(interface.step)
    pieces = _narrow(batch, above, interface, memory) if interface.narrow else _wide(batch, above, memory)
    stack = torch.cat(list(pieces))
    if not interface.narrow:
        return RootHead(path, stack.flatten(2).transpose(0, 1).contiguous())
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


def _wide(batch: "WrittenBatch", above: Path, memory: int) -> Iterator[Tensor]:
    """Cotangents of h from each column of the loss's root, C x N x h."""
    root = batch.root()
    for part in root.split_with_sizes(batch.linearization.pieces(above, len(root), memory=memory)):
        found = batch.linearization.backward(above, part, {})
        assert found is not None
        yield found
