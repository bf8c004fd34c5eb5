"""A gradient batch whose activations are not stored together: processed in chunks; only S_c stays linearized."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature.autograd_model import AutogradBatch
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.errors import BatchError
from worker.optim.gradient_batch import Examples
from worker.optim.losses import Loss


@dataclass
class ChunkedBatch:
    """S_g of N examples in chunks, and S_c, which stays linearized.

    With a plain mean over the examples, loss and gradient are l = sum over chunks i of n_i / N l_i and
    g = sum of n_i / N g_i, with l_i, g_i those of a chunk's n_i examples. With any other loss the outputs of all chunks
    are computed first, and each chunk's backward pass starts from its part of the gradient by the outputs; this takes
    one more forward pass.

    Args:
        linearize: (inputs, targets) -> the model linearized there.
        loss: the loss.
        first: S_c.
        rest: inputs and targets of the other chunks of S_g; of all of them where S_c is `apart`.
        plain_mean: whether the loss is the unweighted mean over the examples.
        apart: whether S_c is no part of S_g.
    """

    linearize: Callable[..., TracedBatch | AutogradBatch]
    loss: Loss
    first: TracedBatch | AutogradBatch
    rest: Sequence[Examples]
    plain_mean: bool = True
    apart: bool = False
    gradient_flops: int = field(default=0, init=False)
    """operations of forward and backward pass, without a second forward pass, once `gradient` has been called"""
    forward_flops: int = field(default=0, init=False)
    """operations of a forward pass, likewise"""
    _value: Tensor | None = field(default=None, init=False)

    @property
    def value(self) -> Tensor:
        """The mean loss, once `gradient` has been called."""
        assert self._value is not None
        return self._value

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with the mean gradient, by parameter name."""
        own = {name: torch.empty_like(part) for name, part in out.items()}
        for part in out.values():
            part.zero_()
        if self.plain_mean:
            self._mean_of_chunks(out, own)
        else:
            self._by_outputs(out, own)

    def _chunks(self) -> Iterator[TracedBatch | AutogradBatch]:
        if not self.apart:
            yield self.first
        for chunk in self.rest:
            yield self.linearize(*chunk)

    def _mean_of_chunks(self, out: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
        total = sum(len(targets) for _, targets in self.rest) + (0 if self.apart else len(self.first.targets))
        values = []
        for batch in self._chunks():
            share = len(batch.targets) / total
            cotangent = self.loss.gradient(batch.outputs.detach(), batch.targets)
            values.append(batch.value * share)
            self._add(batch, cotangent * share, out, own)
        self._value = torch.stack(values).sum()

    def _by_outputs(self, out: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
        parts = [(batch.outputs.detach(), batch.targets) for batch in self._chunks()]
        outputs, targets = joined_outputs(parts)
        self._value = self.loss.value(outputs, targets)
        cotangents = torch.split(self.loss.gradient(outputs, targets), [len(part) for part, _ in parts])
        for cotangent, batch in zip(cotangents, self._chunks(), strict=True):
            self._add(batch, cotangent, out, own)

    def _add(
        self,
        batch: TracedBatch | AutogradBatch,
        cotangent: Tensor,
        out: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
    ) -> None:
        batch.backward(cotangent, own)
        self.gradient_flops += batch.gradient_flops
        self.forward_flops += batch.forward_flops
        for name, part in out.items():
            part.add_(own[name])

    def narrow(self, count: int, blocks: Sequence[Block]) -> TracedBatch | AutogradBatch:  # noqa: ARG002 - one interface
        """Return S_c, ready for products.

        Args:
            count: not used.
            blocks: the blocks.
        """
        found = self.first.narrow(len(self.first.targets), blocks)
        if self.apart and isinstance(found, TracedBatch):
            return replace(found, setup_flops=found.forward_flops)
        return found


def joined_outputs(parts: Sequence[Examples]) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of several chunks, one after the other.

    Args:
        parts: outputs and targets of each chunk.

    Raises:
        BatchError: the chunks differ in the shape of an example.
    """
    try:
        outputs = torch.cat([f for f, _ in parts if isinstance(f, Tensor)])
        return outputs, torch.cat([t for _, t in parts])
    except RuntimeError as error:
        shapes = sorted({str(list(f.shape[1:])) for f, _ in parts if isinstance(f, Tensor)})
        raise BatchError(
            f"the micro-batches' outputs or targets differ in shape ({', '.join(shapes)} per example): pad them to the "
            "same length"
        ) from error
