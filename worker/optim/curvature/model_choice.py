"""How a model is linearized: by the rules of its operations, or by double backward where an operation has none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.blocks import Block
from worker.optim.curvature import dependencies
from worker.optim.curvature.autograd_model import AutogradBatch, AutogradModel
from worker.optim.curvature.chunked_batch import ChunkedBatch, joined_outputs
from worker.optim.curvature.forward_model import Forward, ForwardBatch, ForwardModel
from worker.optim.curvature.rules.base import NotCovered
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.errors import ModelError
from worker.optim.gradient_batch import Examples, GradientBatch
from worker.optim.inputs import Inputs, call, first, moved
from worker.optim.losses import MEANS, Loss
from worker.optim.modes import check_modes
from worker.optim.outputs import Selector, select


class ModelChoice:
    """Chooses at the first batch, and again where the model has changed since the last one.

    A traced model is compared with the module, by outputs and gradient of two examples, when it is made. The modules,
    their modes, hooks and attributes are compared at each batch. A module with a forward method of its own may read
    anything else: its traced model is compared at each batch.

    Args:
        model: the module.
        loss: the loss.
        blocks: the blocks that are optimized.
        autograd: whether double backward was requested.
        selector: which of the module's outputs the loss gets.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, blocks: Sequence[Block], *, autograd: bool, selector: Selector = None
    ) -> None:
        self._model, self._loss, self._blocks, self._selector = model, loss, blocks, selector
        self._names = [name for block in blocks for name in block.names]
        self._autograd = autograd
        self._structure: tuple[Any, ...] = ()
        self._attributes: tuple[Any, ...] = ()
        self._chosen: TracedModel | AutogradModel | None = None
        self._forward = ForwardModel(model, self._names)

    def linearize_forward(self, forward: Forward, curvature: Forward | None) -> ForwardBatch:
        """Run a loss that is given as a function, see `ForwardModel.linearize`."""
        check_modes(self._model)
        return self._forward.linearize(forward, curvature)

    def evaluate_forward(self, forward: Forward) -> Tensor:
        """Return its loss at the present weights, a scalar."""
        return self._forward.evaluate(forward)

    def linearize(self, batch: GradientBatch, *, curvature_batch: int) -> TracedBatch | ChunkedBatch | AutogradBatch:
        """Return the model linearized at S_g, or at least at S_c.

        Args:
            batch: S_g and S_c.
            curvature_batch: examples of S_c at the start of S_g, where it was not given.

        Raises:
            ModelError: in its mode an example's outputs depend on the other examples or on random numbers, or the
                outputs do not depend on a parameter of the blocks.
        """
        inputs, targets = batch.parts[0]
        self._follow(inputs if batch.whole else self._moved(first(inputs, 2), targets)[0])
        assert self._chosen is not None
        if isinstance(self._chosen, TracedModel) and isinstance(inputs, Tensor):
            try:
                if batch.whole:
                    return self._chosen.linearize_in_chunks(curvature_batch, inputs, targets)
                return self._in_parts(self._chosen, batch, curvature_batch)
            except NotCovered as reason:
                self._chosen = self._by_autograd(str(reason))
        if isinstance(self._chosen, TracedModel):
            self._chosen = self._by_autograd("the model has several inputs")
        if batch.whole:
            return self._chosen.linearize(inputs, targets)
        return self._in_parts(self._chosen, batch, curvature_batch)

    def _in_parts(self, model: TracedModel | AutogradModel, batch: GradientBatch, curvature_batch: int) -> ChunkedBatch:
        curvature, rest = batch.split(curvature_batch)

        def linearize(inputs: Inputs, targets: Tensor) -> TracedBatch | AutogradBatch:
            found: TracedBatch | AutogradBatch = model.linearize(*self._moved(inputs, targets))  # type: ignore[arg-type]
            return found

        return ChunkedBatch(
            linearize, self._loss, linearize(*curvature), self._cut(rest),
            plain_mean=type(self._loss) in MEANS, apart=batch.curvature is not None,
        )  # fmt: skip

    def _cut(self, parts: list[Examples]) -> list[Examples]:
        """Cut parts whose activations would need too much memory."""
        if not isinstance(self._chosen, TracedModel):
            return parts
        return [piece for x, t in parts for piece in (self._chosen.cut(x, t) if isinstance(x, Tensor) else [(x, t)])]

    def _moved(self, inputs: Inputs, targets: Tensor) -> Examples:
        """Return micro-batches, which may wait elsewhere, on the weights' device."""
        device = self._blocks[0].parameters[0].device
        return moved(inputs, device), targets.to(device)

    def check_reached(self) -> None:
        """Check that the first gradient has reached every parameter.

        Raises:
            ModelError: it has not.
        """
        if isinstance(self._chosen, AutogradModel):
            self._chosen.check_reached()

    def evaluate(self, batch: GradientBatch) -> Tensor:
        """Return the mean loss over S_g at the present weights, a scalar, in the parts that the gradient took."""
        moved_parts = (part if batch.whole else self._moved(*part) for part in self._cut(batch.parts))
        parts = [(self._outputs(inputs), targets) for inputs, targets in moved_parts]
        if len(parts) == 1:
            return self._loss.value(*parts[0])
        if type(self._loss) not in MEANS:
            return self._loss.value(*joined_outputs(parts))
        total = sum(len(targets) for _, targets in parts)
        return torch.stack([self._loss.value(f, t) * (len(t) / total) for f, t in parts]).sum()

    def _outputs(self, inputs: Inputs) -> Tensor:
        # A forward pass that no rule covers may differentiate by its own inputs.
        with torch.set_grad_enabled(isinstance(self._chosen, AutogradModel)), native.single_backward():
            outputs: Tensor = select(call(self._model, inputs), self._selector)
        return outputs.detach()

    def _follow(self, inputs: Inputs) -> None:
        """Choose again where the present choice may not be right any more."""
        structure = dependencies.structure(self._model)
        if self._chosen is None or structure != self._structure:
            check_modes(self._model)
        elif isinstance(self._chosen, AutogradModel):
            return
        else:
            same = dependencies.attributes(self._model) == self._attributes
            if same and (self._chosen.trusted or not isinstance(inputs, Tensor) or not self._chosen.differs(inputs)):
                return
        self._chosen, self._structure = self._choose(inputs), structure
        self._attributes = dependencies.attributes(self._model)

    def _by_autograd(self, note: str) -> AutogradModel:
        return AutogradModel(self._model, self._loss, note, self._names, self._selector)

    def _choose(self, inputs: Inputs) -> TracedModel | AutogradModel:
        if self._autograd:
            return self._by_autograd("method autograd was requested")
        if not isinstance(inputs, Tensor):
            return self._by_autograd("the model has several inputs")
        try:
            traced = TracedModel(self._model, self._loss, tuple(self._names), self._selector)
            traced.check(inputs)
        except NotCovered as reason:
            return self._by_autograd(str(reason))
        for name in (n for block in self._blocks for n in traced.unreached(block)):
            raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        return traced
