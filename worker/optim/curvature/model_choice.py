"""How a model is linearized: by the rules of its operations, or by double backward where an operation has none."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.blocks import Block, check_modes
from worker.optim.curvature import dependencies
from worker.optim.curvature.autograd_model import AutogradBatch, AutogradModel
from worker.optim.curvature.chunked_batch import ChunkedBatch
from worker.optim.curvature.rules.base import NotCovered
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.errors import ModelError
from worker.optim.inputs import Inputs, call
from worker.optim.losses import Loss


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
    """

    def __init__(self, model: nn.Module, loss: Loss, blocks: Sequence[Block], *, autograd: bool) -> None:
        self._model, self._loss, self._blocks = model, loss, blocks
        self._names = [name for block in blocks for name in block.names]
        self._autograd = autograd
        self._structure: tuple[Any, ...] = ()
        self._attributes: tuple[Any, ...] = ()
        self._chosen: TracedModel | AutogradModel | None = None

    def linearize(
        self, inputs: Inputs, targets: Tensor, *, curvature_batch: int
    ) -> TracedBatch | ChunkedBatch | AutogradBatch:
        """Return the model linearized at S_g, or at least at its first `curvature_batch` examples.

        Args:
            inputs: of S_g, N examples.
            targets: N targets.
            curvature_batch: examples of S_c.

        Raises:
            ModelError: in its mode an example's outputs depend on the other examples or on random numbers, or the
                outputs do not depend on a parameter of the blocks.
        """
        self._follow(inputs)
        assert self._chosen is not None
        if isinstance(self._chosen, TracedModel) and isinstance(inputs, Tensor):
            try:
                return self._chosen.linearize_in_chunks(curvature_batch, inputs, targets)
            except NotCovered as reason:
                self._chosen = self._by_autograd(str(reason))
        if isinstance(self._chosen, TracedModel):
            self._chosen = self._by_autograd("the model has several inputs")
        return self._chosen.linearize(inputs, targets)

    def evaluate(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """Return the mean loss at the present weights, a scalar."""
        # A forward pass that no rule covers may differentiate by its own inputs.
        with torch.set_grad_enabled(isinstance(self._chosen, AutogradModel)), native.single_backward():
            outputs = call(self._model, inputs)
        return self._loss.value(outputs.detach(), targets)

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
        return AutogradModel(self._model, self._loss, note, self._names)

    def _choose(self, inputs: Inputs) -> TracedModel | AutogradModel:
        if self._autograd:
            return self._by_autograd("method autograd was requested")
        if not isinstance(inputs, Tensor):
            return self._by_autograd("the model has several inputs")
        try:
            traced = TracedModel(self._model, self._loss, tuple(self._names))
            traced.check(inputs)
        except NotCovered as reason:
            return self._by_autograd(str(reason))
        for name in (n for block in self._blocks for n in traced.unreached(block)):
            raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        return traced
