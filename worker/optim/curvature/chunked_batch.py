"""A gradient batch whose activations do not fit the memory limit: processed in chunks; only S_c stays linearized."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature.traced_batch import TracedBatch


@dataclass
class ChunkedBatch:
    """S_g of N examples, of which only `first`, S_c, stays linearized.

    With a plain mean over the examples, loss and gradient are l = sum over chunks i of n_i / N l_i and
    g = sum of n_i / N g_i, with l_i, g_i those of a chunk's n_i examples. With any other loss the outputs of all chunks
    are computed first, and each chunk's backward pass starts from its part of the gradient by the outputs; this takes
    one more forward pass.

    Args:
        linearize: (inputs, targets) -> the model linearized there.
        first: S_c.
        rest: inputs and targets of the other examples.
        chunk: examples of a chunk of `rest`; the last one may be smaller.
        plain_mean: whether the loss is the unweighted mean over the examples.
    """

    linearize: Callable[[Tensor, Tensor], TracedBatch]
    first: TracedBatch
    rest: tuple[Tensor, Tensor]
    chunk: int
    plain_mean: bool = True
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
        """Operations of forward and backward pass, without the second forward pass."""
        return round(self._scale * self.first.gradient_flops)

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return round(self._scale * self.first.forward_flops)

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with the mean gradient, by parameter name."""
        own = {name: torch.empty_like(part) for name, part in out.items()}
        if self.plain_mean:
            self._mean_of_chunks(out, own)
        else:
            self._by_outputs(out, own)

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(*(torch.split(whole, self.chunk) for whole in self.rest), strict=True)

    def _mean_of_chunks(self, out: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
        total = len(self.first.targets) + len(self.rest[0])
        share = len(self.first.targets) / total
        self.first.gradient(out)
        self._value = self.first.value * share
        for part in out.values():
            part.mul_(share)
        for inputs, targets in self._chunks():
            batch, share = self.linearize(inputs, targets), len(targets) / total
            batch.gradient(own)
            self._value += batch.value * share
            for name, part in out.items():
                part.add_(own[name], alpha=share)

    def _by_outputs(self, out: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
        loss, first = self.first.loss, self.first.linearization.outputs
        parts = [first, *(self.linearize(*chunk).linearization.outputs for chunk in self._chunks())]
        outputs, targets = torch.cat(parts), torch.cat([self.first.targets, self.rest[1]])
        self._value = loss.value(outputs, targets)
        cotangents = torch.split(loss.gradient(outputs, targets), [len(part) for part in parts])
        self.first.backward(cotangents[0], out)
        for cotangent, chunk in zip(cotangents[1:], self._chunks(), strict=True):
            self.linearize(*chunk).backward(cotangent, own)
            for name, part in out.items():
                part.add_(own[name])

    def narrow(self, count: int, blocks: Sequence[Block]) -> TracedBatch:
        """Return the first examples' part, ready for products.

        Args:
            count: their number, at most that of S_c.
            blocks: the blocks.
        """
        return self.first.narrow(count, blocks)
