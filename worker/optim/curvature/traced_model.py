"""Gradient and curvature of a model whose every operation has a rule: the forward pass is done once per batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.assumptions import check_loss, check_outputs
from worker.optim.blocks import Block
from worker.optim.curvature.chunked_batch import KEPT, PiecedBatch, kept_bytes
from worker.optim.curvature.graph import Graph, Path, trace
from worker.optim.curvature.interfaces import Head, OutputHead
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered
from worker.optim.losses import Loss

WHOLE = 32
"""examples whose memory says what one takes: rules that keep chunks of examples fill theirs with so many"""


@dataclass
class WrittenModel:
    """A traced model; raises NotCovered where the trace is not the model."""

    model: nn.Module
    loss: Loss
    graph: Graph = field(init=False)
    all: Path = field(init=False)
    checked: bool = field(default=False, init=False)
    example: int = field(default=0, init=False)
    """bytes that an example's linearization keeps; 0: not known yet"""

    def __post_init__(self) -> None:
        self.graph = trace(self.model)
        self.all = self.graph.path(name for name, p in self.model.named_parameters() if p.requires_grad)

    def unreached(self, block: Block) -> list[str]:
        """Return the block's parameters that the outputs do not depend on."""
        reached = {full for _, _, names in self.all.steps for full in names.values()}
        return [name for name in block.names if name not in reached]

    def check(self, inputs: Tensor) -> None:
        """Compare the trace with the model on two examples; raise NotCovered where they differ."""
        few = inputs[:2]
        outputs = Linearization.at(self.graph, few).outputs
        with torch.no_grad(), native.once():
            own = self.model(few)
        if not torch.equal(outputs, own) and bool(outputs.isfinite().all()):
            raise NotCovered("the traced forward pass differs from the model's own")

    def at_most(self, keep: int, inputs: Tensor, targets: Tensor) -> "WrittenBatch | PiecedBatch":
        """Run the forward pass over S_g; over its first `keep` examples where the activations of all are too many."""
        if not self.example:
            few = inputs[:WHOLE]
            rules = Linearization.at(self.graph, few).rules
            self.example = max(1, kept_bytes(rules, list(self.model.parameters())) // len(few))
        if keep == len(inputs) or self.example * len(inputs) <= KEPT:
            return self.at(inputs, targets)
        first = self.at(inputs[:keep], targets[:keep])
        return PiecedBatch(self, first, (inputs[keep:], targets[keep:]), max(1, KEPT // 2 // self.example))

    def at(self, inputs: Tensor, targets: Tensor) -> "WrittenBatch":
        """Run the forward pass; the first time, check what the method assumes of outputs and loss."""
        linearization = Linearization.at(self.graph, inputs)
        if not self.checked:
            check_loss(self.loss, check_outputs(linearization.outputs, inputs), targets)
            self.checked = True
        return WrittenBatch(self, linearization, targets)


@dataclass
class WrittenBatch:
    """The model linearized at a batch, with its targets."""

    source: WrittenModel
    linearization: Linearization
    targets: Tensor
    paths: dict[tuple[str, ...], Path] = field(default_factory=dict)

    @property
    def value(self) -> Tensor:
        """The mean loss."""
        return self.source.loss.value(self.linearization.outputs, self.targets)

    @property
    def gradient_flops(self) -> int:
        """Operations of forward and backward pass."""
        return self.linearization.forward_flops() + self.linearization.tangent_flops(self.source.all)

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Write the mean gradient into `out`, by parameter name."""
        cotangent = self.source.loss.gradient(self.linearization.outputs, self.targets)
        self.linearization.backward(self.source.all, cotangent, out)

    def squares(self, out: Mapping[str, Tensor]) -> None:
        """Write the mean of the squared gradients of the single examples' losses into `out`, by parameter name.

        One backward pass; then each layer squares and sums, (y^2)'x^2 for a dense one.
        """
        cotangent = self.source.loss.gradient(self.linearization.outputs, self.targets)
        path = self.source.all
        kept = {step: cotangent for step, _, names in path.steps if names}
        self.linearization.backward(path, cotangent, {}, cotangents=kept)
        for step, _, names in path.steps:
            if names:
                self.linearization.rules[step].squares(kept[step], {k: out[full] for k, full in names.items()})
                for full in names.values():
                    # The cotangent is that of the mean: an example's own is N times as large.
                    out[full].mul_(len(self.targets))

    @property
    def squares_flops(self) -> int:
        """Operations of `squares`."""
        return self.linearization.tangent_flops(self.source.all)

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return self.linearization.forward_flops()

    def narrow(self, count: int, blocks: Sequence[Block]) -> "WrittenBatch":
        """Return the first `count` examples' part, ready for products; costs nothing."""
        paths = {block.names: self.source.graph.path(block.names) for block in blocks}
        return WrittenBatch(self.source, self.linearization.narrow(count), self.targets[:count], paths)

    def hessian_product(self, tangent: Tensor) -> Tensor:
        """Return H_l times a tangent of the outputs."""
        return self.source.loss.hessian_product(self.linearization.outputs, self.targets, tangent)

    @property
    def rooted(self) -> bool:
        """Whether the loss has a root: one of a user's own need not."""
        return hasattr(self.source.loss, "root")

    @cached_property
    def root(self) -> Tensor:
        """S, K x N x ..., with H_l = sum over k of S_k S_k'."""
        return self.source.loss.root(self.linearization.outputs, self.targets)

    def product(self, block: Block, vector: Tensor, out: Tensor, *, head: Head | None = None) -> None:
        """Write G_b v into out: v -> J_b v -> H_l J_b v -> J_b' H_l J_b v, all of it within the block's path."""
        head = head or self.head(block)
        jv = self.linearization.tangent(head.path, block.views(vector))
        self.linearization.backward(head.path, head.apply(jv), block.views(out))

    @cached_property
    def rounded(self) -> Linearization:
        """The linearization in bfloat16, made once."""
        return self.linearization.cast(torch.bfloat16)

    def rounded_product(self, block: Block, vector: Tensor, out: Tensor, *, head: Head | None = None) -> None:
        """Write G_b v into out, its ways down and up through the layers in bfloat16, H_l and the head in full."""
        head, low = head or self.head(block), torch.empty_like(out, dtype=torch.bfloat16)
        jv = self.rounded.tangent(head.path, block.views(vector.bfloat16()))
        curved = head.apply(jv.to(vector.dtype))
        self.rounded.backward(head.path, curved.bfloat16(), block.views(low))
        out.copy_(low)

    def head(self, block: Block) -> OutputHead:
        """Return the head that ends at the outputs."""
        return OutputHead(self, self.paths[block.names])

    def product_flops(self, block: Block, *, head: Head | None = None) -> int:
        """Operations of one product."""
        head = head or self.head(block)
        return 2 * self.linearization.tangent_flops(head.path) + head.flops

    @property
    def setup_flops(self) -> int:
        """Operations spent on getting ready for products."""
        return 0
