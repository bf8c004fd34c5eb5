"""A model of which every operation has a rule: gradient and curvature share one forward pass per batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.assumptions import check_loss, check_outputs
from worker.optim.blocks import Block
from worker.optim.curvature.chunked_batch import ChunkedBatch
from worker.optim.curvature.graph import Graph, Path, trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered, Rule
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.losses import Loss

ACTIVATION_BYTES = 3 << 27
"""activations above which a gradient batch passes in chunks [bytes]; each chunk has half of it"""
_SAMPLE = 32
"""examples from which the memory of one is estimated: rules that store groups of examples fill theirs"""


def linearization_bytes(rules: Sequence[Rule], shared: Sequence[Tensor]) -> int:
    """Return the memory of the rules' tensors [bytes], each storage counted once, without that of `shared`."""
    found = [v.untyped_storage() for rule in rules for v in vars(rule).values() if isinstance(v, Tensor)]
    ours = {storage.data_ptr(): storage.nbytes() for storage in found}
    return sum(ours[place] for place in ours.keys() - {t.untyped_storage().data_ptr() for t in shared})


@dataclass
class TracedModel:
    """A module written down as operations with rules.

    Raises:
        NotCovered: an operation has no rule.
    """

    module: nn.Module
    loss: Loss
    graph: Graph = field(init=False)
    all: Path = field(init=False)
    """the path from all trainable parameters to the outputs"""
    checked: bool = field(default=False, init=False)
    example_bytes: int = field(default=0, init=False)
    """memory of one example's linearization [bytes]; 0: not known yet"""

    def __post_init__(self) -> None:
        self.graph = trace(self.module)
        self.all = self.graph.path(name for name, p in self.module.named_parameters() if p.requires_grad)

    def unreached(self, block: Block) -> list[str]:
        """Return the block's parameters that the outputs do not depend on."""
        reached = {full for _, _, names in self.all.steps for full in names.values()}
        return [name for name in block.names if name not in reached]

    def check(self, inputs: Tensor) -> None:
        """Compare the trace with the module on two examples; raise NotCovered where they differ."""
        few = inputs[:2]
        outputs = Linearization.at(self.graph, few).outputs
        with torch.no_grad(), native.single_backward():
            own = self.module(few)
        if not torch.equal(outputs, own) and bool(outputs.isfinite().all()):
            raise NotCovered("the traced forward pass differs from the model's own")

    def linearize_in_chunks(self, curvature_batch: int, inputs: Tensor, targets: Tensor) -> TracedBatch | ChunkedBatch:
        """Linearize at S_g, or at S_c and, in chunks, the rest where the activations need too much memory."""
        if not self.example_bytes:
            few = inputs[:_SAMPLE]
            rules = Linearization.at(self.graph, few).rules
            self.example_bytes = max(1, linearization_bytes(rules, list(self.module.parameters())) // len(few))
        if curvature_batch == len(inputs) or self.example_bytes * len(inputs) <= ACTIVATION_BYTES:
            return self.linearize(inputs, targets)
        first = self.linearize(inputs[:curvature_batch], targets[:curvature_batch])
        rest = inputs[curvature_batch:], targets[curvature_batch:]
        return ChunkedBatch(self.linearize, first, rest, max(1, ACTIVATION_BYTES // 2 // self.example_bytes))

    def linearize(self, inputs: Tensor, targets: Tensor) -> TracedBatch:
        """Run the forward pass; the first time, check what the method assumes of outputs and loss."""
        linearization = Linearization.at(self.graph, inputs)
        if not self.checked:
            check_loss(self.loss, check_outputs(linearization.outputs, inputs), targets)
            self.checked = True
        return TracedBatch(self.loss, self.all, linearization, targets)
