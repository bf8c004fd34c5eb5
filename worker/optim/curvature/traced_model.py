"""A model of which every operation has a rule: gradient and curvature share one forward pass per batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.assumptions import check_loss, check_outputs
from worker.optim.blocks import Block
from worker.optim.curvature import dependencies
from worker.optim.curvature.chunked_batch import ChunkedBatch
from worker.optim.curvature.graph import Graph, Path, trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered, Rule
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.gradient_batch import Examples
from worker.optim.losses import MEANS, Loss
from worker.optim.outputs import Selector, select

ACTIVATION_BYTES = 3 << 27
"""activations above which a gradient batch is processed in chunks [bytes]; each chunk has half of it"""
_SAMPLE = 32
"""examples from which the memory of one is estimated: rules that store groups of examples fill theirs"""
_VALUES, _GRADIENTS = 32, 1024
"""allowed difference of outputs, and of a parameter's gradient, between trace and module [eps of the largest entry]"""


def linearization_bytes(rules: Sequence[Rule], shared: Sequence[Tensor]) -> int:
    """Return the memory of the rules' tensors.

    Args:
        rules: the rules; each storage is counted once.
        shared: tensors whose storages are not counted.

    Returns:
        The memory [bytes].
    """
    found = [v.untyped_storage() for rule in rules for v in vars(rule).values() if isinstance(v, Tensor)]
    ours = {storage.data_ptr(): storage.nbytes() for storage in found}
    return sum(ours[place] for place in ours.keys() - {t.untyped_storage().data_ptr() for t in shared})


@dataclass
class TracedModel:
    """A module written down as operations with rules.

    Args:
        module: the module.
        loss: the loss.
        names: parameters that are optimized; None: all trainable ones.
        selector: which of the module's outputs the loss gets.

    Attributes:
        graph: the operations.
        all: the path from these parameters to the outputs.
        trusted: whether a comparison with the module was possible and need not be repeated while the module does not
            change: no forward method of its own may read what cannot be compared from outside.
        checked: whether the loss has been checked.
        example_bytes: memory of one example's linearization [bytes]; 0: not known yet.

    Raises:
        NotCovered: an operation has no rule.
    """

    module: nn.Module
    loss: Loss
    names: tuple[str, ...] | None = None
    selector: Selector = None
    graph: Graph = field(init=False)
    all: Path = field(init=False)
    trusted: bool = field(default=False, init=False)
    checked: bool = field(default=False, init=False)
    example_bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.graph = trace(self.module, self.selector)
        named = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self._parameters = {name: named[name] for name in (named if self.names is None else self.names)}
        self.all = self.graph.path(self._parameters)

    def unreached(self, block: Block) -> list[str]:
        """Return the block's parameters that the outputs do not depend on."""
        reached = {full for _, _, names in self.all.steps for full in names.values()}
        return [name for name in block.names if name not in reached]

    def check(self, inputs: Tensor) -> None:
        """Compare the trace with the module on two examples, by outputs and gradient.

        Args:
            inputs: N x ...

        Raises:
            NotCovered: they differ; the text says in what.
        """
        if found := self.differs(inputs):
            raise NotCovered(found)

    def differs(self, inputs: Tensor) -> str:
        """Return in what trace and module differ on two examples; empty: in nothing.

        Args:
            inputs: N x ...
        """
        few = inputs[:2].clone()
        traced = Linearization.at(self.graph, few)
        reached = {full: self._parameters[full] for _, _, names in self.all.steps for full in names.values()}
        with torch.enable_grad(), native.single_backward():
            own = select(self.module(few), self.selector)
        if not isinstance(own, Tensor) or own.shape != traced.outputs.shape:
            return "the traced forward pass differs from the module's own"
        eps = torch.finfo(traced.outputs.dtype).eps
        if not bool(traced.outputs.isfinite().all()):
            return ""
        if not float((own.detach() - traced.outputs).abs().max()) <= _VALUES * eps * float(traced.outputs.abs().max()):
            return "the traced forward pass differs from the module's own"
        if not reached:
            return ""
        # A ramp: no cotangent of a loss, whose derivative may vanish.
        cotangent = torch.linspace(0.5, 1.5, own.numel(), dtype=own.dtype, device=own.device).view(own.shape)
        if not own.requires_grad:
            return "the traced gradient differs from the module's own"
        parts = torch.autograd.grad(own, list(reached.values()), cotangent, allow_unused=True)
        found = {name: torch.empty_like(p, memory_format=torch.contiguous_format) for name, p in reached.items()}
        traced.backward(self.all, cotangent, found)
        largest = max(float(g.abs().max()) for g in found.values())
        for gradient, part in zip(found.values(), parts, strict=True):
            limit = _GRADIENTS * eps * float(gradient.abs().max()) + _VALUES * eps * largest
            if not float((gradient if part is None else gradient - part).abs().max()) <= limit:
                return "the traced gradient differs from the module's own"
        self.trusted = not dependencies.is_custom(self.module)
        return ""

    def chunk(self, inputs: Tensor) -> int:
        """Return how many examples may be linearized together.

        Args:
            inputs: N x ...

        Returns:
            N where the activations of all fit the memory, or else the size of a chunk.
        """
        if not self.example_bytes:
            device = next(iter(self._parameters.values())).device
            few = inputs[:_SAMPLE].clone().to(device)  # a view has the storage of the whole batch
            rules = Linearization.at(self.graph, few).rules
            self.example_bytes = max(1, linearization_bytes(rules, list(self.module.parameters())) // len(few))
        if self.example_bytes * len(inputs) <= ACTIVATION_BYTES:
            return len(inputs)
        return min(len(inputs), max(1, ACTIVATION_BYTES // 2 // self.example_bytes))

    def cut(self, inputs: Tensor, targets: Tensor) -> list[Examples]:
        """Return the examples in chunks that fit the memory.

        Args:
            inputs: N x ...
            targets: N targets.
        """
        size = self.chunk(inputs)
        return list(zip(torch.split(inputs, size), torch.split(targets, size), strict=True))

    def linearize_in_chunks(self, curvature_batch: int, inputs: Tensor, targets: Tensor) -> TracedBatch | ChunkedBatch:
        """Linearize at S_g, or at S_c and, in chunks, the rest where the activations need too much memory.

        Args:
            curvature_batch: examples of S_c.
            inputs: of S_g, N x ...
            targets: N targets.
        """
        size = self.chunk(inputs)
        if size == len(inputs) or curvature_batch == len(inputs):
            return self.linearize(inputs, targets)
        first = self.linearize(inputs[:curvature_batch], targets[:curvature_batch])
        rest = torch.split(inputs[curvature_batch:], size), torch.split(targets[curvature_batch:], size)
        chunks = list(zip(*rest, strict=True))
        return ChunkedBatch(self.linearize, self.loss, first, chunks, plain_mean=type(self.loss) in MEANS)

    def linearize(self, inputs: Tensor, targets: Tensor) -> TracedBatch:
        """Run the forward pass; the first time, check what the method assumes of outputs and loss.

        Args:
            inputs: N x ...
            targets: N targets.

        Raises:
            BatchError: the outputs are not one row per example.
            LossError: the loss cannot be used.
        """
        linearization = Linearization.at(self.graph, inputs)
        if not self.checked:
            check_loss(self.loss, check_outputs(linearization.outputs, len(inputs)), targets)
            self.checked = True
        return TracedBatch(self.loss, self.all, linearization, targets)
