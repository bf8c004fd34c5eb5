"""A gradient batch whose activations do not fit the memory limit: passed chunk by chunk; only the first is stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature.traced_batch import TracedBatch


@dataclass
class ChunkedBatch:
    """S_g of N examples, of which only `first`, S_c, stays linearized. Mean loss and gradient are

        l = sum over chunks i of n_i / N l_i,    g = sum of n_i / N g_i

    with l_i, g_i the means over a chunk's n_i examples.

    Args:
        linearize: (inputs, targets) -> the model linearized there.
        first: S_c.
        rest: inputs and targets of the other examples.
        chunk: examples of a chunk of `rest`; the last one may be smaller.
    """

    linearize: Callable[[Tensor, Tensor], TracedBatch]
    first: TracedBatch
    rest: tuple[Tensor, Tensor]
    chunk: int
    _value: Tensor | None = field(default=None, init=False)

    @property
    def value(self) -> Tensor:
        """The mean loss, once `gradient` has been called."""
        assert self._value is not None
        return self._value

    @property
    def _scale(self) -> float:
        """N over the examples of the first chunk."""
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
        for inputs, targets in zip(*(torch.split(whole, self.chunk) for whole in self.rest), strict=True):
            batch, share = self.linearize(inputs, targets), len(targets) / total
            batch.gradient(own)
            self._value += batch.value * share
            for name, part in out.items():
                part.add_(own[name], alpha=share)

    def narrow(self, count: int, blocks: Sequence[Block]) -> TracedBatch:
        """Return the first `count` examples' part, at most those of S_c, ready for products."""
        return self.first.narrow(count, blocks)
