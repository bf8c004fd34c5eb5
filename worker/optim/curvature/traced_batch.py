"""A batch at which every operation of the model is linearized by its rule: gradient, products, squared gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature.graph import Path
from worker.optim.curvature.linearization import Linearization
from worker.optim.losses import Loss, RootedLoss


class LossCurvature(Protocol):
    """The middle factor M of G_b = J' M J: the loss's Hessian, seen from the step where `path` ends.

    Attributes:
        path: from the block's parameters to that step.
        flops: floating-point operations of one application.
    """

    @property
    def path(self) -> Path:
        """Path from the block's parameters to the step."""
        ...

    @property
    def flops(self) -> int:
        """Operations of one application."""
        ...

    def apply(self, tangent: Tensor) -> Tensor:
        """Return M times a tangent of the step's value, in its shape N x ..."""
        ...


@dataclass(frozen=True)
class OutputHessian:
    """M = H_l: the path ends at the outputs."""

    batch: "TracedBatch"
    path: Path
    flops: int = 0

    def apply(self, tangent: Tensor) -> Tensor:
        """Return H_l times the outputs' tangent."""
        return self.batch.hessian_product(tangent)


@dataclass
class TracedBatch:
    """The model linearized at a batch of N examples, with its targets.

    Args:
        loss: the loss.
        all: the path from all trainable parameters to the outputs.
        linearization: the rules at this batch.
        targets: N targets.
        paths: for each block of `narrow`, by its parameters' names, the path to the outputs.
        setup_flops: operations of its forward pass, where no gradient has used it.
    """

    loss: Loss
    all: Path
    linearization: Linearization
    targets: Tensor
    paths: dict[tuple[str, ...], Path] = field(default_factory=dict)
    setup_flops: int = 0

    @property
    def outputs(self) -> Tensor:
        """The outputs, N x ..."""
        return self.linearization.outputs

    @property
    def value(self) -> Tensor:
        """The mean loss, a scalar."""
        return self.loss.value(self.linearization.outputs, self.targets)

    @property
    def gradient_flops(self) -> int:
        """Operations of forward and backward pass."""
        return self.linearization.forward_flops() + self.linearization.tangent_flops(self.all)

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with the mean gradient, by parameter name."""
        self.backward(self.loss.gradient(self.linearization.outputs, self.targets), out)

    def backward(self, cotangent: Tensor, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with J' times a cotangent of the outputs (N x ...), by parameter name."""
        self.linearization.backward(self.all, cotangent, out)

    def squares(self, out: Mapping[str, Tensor]) -> None:
        """Write the mean of the squared gradients of the single examples' losses into `out`, by parameter name.

        One backward pass; then each layer squares and sums, (y^2)'x^2 for a dense one.
        """
        cotangent = self.loss.gradient(self.linearization.outputs, self.targets)
        collected = {step: cotangent for step, _, names in self.all.steps if names}
        self.linearization.backward(self.all, cotangent, {}, cotangents=collected)
        for step, _, names in self.all.steps:
            if names:
                self.linearization.rules[step].squares(collected[step], {k: out[full] for k, full in names.items()})
                for full in names.values():
                    # The cotangent is that of the mean: an example's own is N times as large.
                    out[full].mul_(len(self.targets))

    @property
    def squares_flops(self) -> int:
        """Operations of `squares`."""
        return self.linearization.tangent_flops(self.all)

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return self.linearization.forward_flops()

    def narrow(self, count: int, blocks: Sequence[Block]) -> "TracedBatch":
        """Return the first `count` examples' part, ready for products; no operation is needed."""
        paths = {block.names: self.linearization.graph.path(block.names) for block in blocks}
        return TracedBatch(self.loss, self.all, self.linearization.narrow(count), self.targets[:count], paths)

    def hessian_product(self, tangent: Tensor) -> Tensor:
        """Return H_l times a tangent of the outputs, N x ... or K x N x ..."""
        return self.loss.hessian_product(self.linearization.outputs, self.targets, tangent)

    def rank(self, memory: int) -> int:
        """Return the number of columns of the loss's square root, without computing the root.

        Args:
            memory: limit of the root's memory [bytes].

        Returns:
            K; 0 where the loss has no root, as one of a user need not, or where it would need more memory.
        """
        outputs = self.linearization.outputs
        # One example's root has at most about as many columns as outputs.
        if not isinstance(self.loss, RootedLoss) or outputs[0].numel() ** 2 * outputs.element_size() > memory:
            return 0
        return self.columns if self.columns * outputs.numel() * outputs.element_size() <= memory else 0

    @property
    def _rooted(self) -> RootedLoss:
        assert isinstance(self.loss, RootedLoss)
        return self.loss

    @cached_property
    def columns(self) -> int:
        """The number of columns of the loss's square root, from one example."""
        return len(self._rooted.hessian_square_root(self.linearization.outputs[:1], self.targets[:1]))

    @cached_property
    def square_root(self) -> Tensor:
        """S, K x N x ..., with H_l = sum over k of S_k S_k'."""
        return self._rooted.hessian_square_root(self.linearization.outputs, self.targets)

    def product(self, block: Block, vector: Tensor, out: Tensor, *, curvature: LossCurvature | None = None) -> None:
        """Write G_b v into out: v -> J v -> M J v -> J' M J v, all of it within the block's path.

        Args:
            block: b.
            vector: v, flat in the block's parameters (P numbers).
            out: receives G_b v, P numbers.
            curvature: M with the path of J; None: H_l at the outputs.
        """
        curvature = curvature or self.output_hessian(block)
        jv = self.linearization.tangent(curvature.path, block.views(vector))
        self.linearization.backward(curvature.path, curvature.apply(jv), block.views(out))

    @cached_property
    def in_bfloat16(self) -> Linearization:
        """The linearization in bfloat16, converted once."""
        return self.linearization.cast(torch.bfloat16)

    def product_in_bfloat16(
        self, block: Block, vector: Tensor, out: Tensor, *, curvature: LossCurvature | None = None
    ) -> None:
        """Write G_b v into out as `product` does, with J v and J' u computed in bfloat16 and M in full precision."""
        curvature, low = curvature or self.output_hessian(block), torch.empty_like(out, dtype=torch.bfloat16)
        jv = self.in_bfloat16.tangent(curvature.path, block.views(vector.bfloat16()))
        curved = curvature.apply(jv.to(vector.dtype))
        self.in_bfloat16.backward(curvature.path, curved.bfloat16(), block.views(low))
        out.copy_(low)

    def output_hessian(self, block: Block) -> OutputHessian:
        """Return H_l at the end of the block's path."""
        return OutputHessian(self, self.paths[block.names])

    def product_flops(self, block: Block, *, curvature: LossCurvature | None = None) -> int:
        """Operations of one product."""
        curvature = curvature or self.output_hessian(block)
        return 2 * self.linearization.tangent_flops(curvature.path) + curvature.flops
