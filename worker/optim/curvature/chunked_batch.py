"""A gradient batch whose activations are too many to keep: passed piece by piece, the first of which alone stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worker.optim.curvature.rules.base import Rule

if TYPE_CHECKING:
    from worker.optim.blocks import Block
    from worker.optim.curvature.traced_model import WrittenBatch, WrittenModel

KEPT = 3 << 27
"""bytes of activations from which on a batch is passed in pieces; the pieces have half of it"""


def kept_bytes(rules: Sequence[Rule], shared: Sequence[Tensor]) -> int:
    """Return the memory that rules keep beside the tensors `shared`, each piece of memory counted once [bytes]."""
    found = [v.untyped_storage() for rule in rules for v in vars(rule).values() if isinstance(v, Tensor)]
    ours = {storage.data_ptr(): storage.nbytes() for storage in found}
    return sum(ours[place] for place in ours.keys() - {t.untyped_storage().data_ptr() for t in shared})


@dataclass
class PiecedBatch:
    """S_g of N examples, of which `first` is linearized and kept: the mean loss and its gradient are

        l = sum over pieces i of n_i / N l_i,    g = sum of n_i / N g_i

    with l_i, g_i the means over a piece's n_i examples. `rest`: the other examples' inputs and targets. `piece`:
    examples of a piece.
    """

    source: "WrittenModel"
    first: "WrittenBatch"
    rest: tuple[Tensor, Tensor]
    piece: int
    _value: Tensor | None = field(default=None, init=False)

    @property
    def value(self) -> Tensor:
        """The mean loss, once `gradient` has been called."""
        assert self._value is not None
        return self._value

    @property
    def _scale(self) -> float:
        """All examples to the first piece's."""
        return 1 + len(self.rest[0]) / len(self.first.targets)

    @property
    def gradient_flops(self) -> int:
        """Operations of forward and backward pass."""
        return round(self._scale * self.first.gradient_flops)

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return round(self._scale * self.first.forward_flops)

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Write the mean gradient into `out`, by parameter name."""
        total = len(self.first.targets) + len(self.rest[0])
        share = len(self.first.targets) / total
        self.first.gradient(out)
        self._value = self.first.value * share
        for part in out.values():
            part.mul_(share)
        own = {name: torch.empty_like(part) for name, part in out.items()}
        for inputs, targets in zip(*(torch.split(whole, self.piece) for whole in self.rest), strict=True):
            batch, share = self.source.at(inputs, targets), len(targets) / total
            batch.gradient(own)
            self._value += batch.value * share
            for name, part in out.items():
                part.add_(own[name], alpha=share)

    def narrow(self, count: int, blocks: Sequence["Block"]) -> "WrittenBatch":
        """Return the first `count` examples' part, at most those that were kept, ready for products."""
        return self.first.narrow(count, blocks)
