"""How a model is linearized: by the rules of its operations, or by double backward where an operation has none."""

from collections.abc import Sequence

from torch import Tensor, nn

from worker.optim.blocks import Block, check_modes
from worker.optim.curvature.autograd_model import AutogradBatch, AutogradModel
from worker.optim.curvature.chunked_batch import ChunkedBatch
from worker.optim.curvature.rules.base import NotCovered
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.errors import ModelError
from worker.optim.losses import Loss


class ModelChoice:
    """Chooses at the first batch, and again where a module's mode has changed since the last one.

    Args:
        model: the module.
        loss: the loss.
        blocks: the blocks that are optimized.
        autograd: whether double backward was requested.
    """

    def __init__(self, model: nn.Module, loss: Loss, blocks: Sequence[Block], *, autograd: bool) -> None:
        self._model, self._loss, self._blocks = model, loss, blocks
        self._autograd = autograd
        self._modes: tuple[bool, ...] = ()
        self._chosen: TracedModel | AutogradModel | None = None

    def linearize(
        self, inputs: Tensor, targets: Tensor, *, curvature_batch: int
    ) -> TracedBatch | ChunkedBatch | AutogradBatch:
        """Return the model linearized at S_g, or at least at its first `curvature_batch` examples.

        Raises:
            ModelError: in its mode an example's outputs depend on the other examples or on random numbers, or the
                outputs do not depend on a parameter of the blocks.
        """
        modes = tuple(m.training for m in self._model.modules())
        if self._chosen is None or modes != self._modes:
            check_modes(self._model)
            self._chosen, self._modes = self._choose(inputs), modes
        if isinstance(self._chosen, TracedModel):
            try:
                return self._chosen.linearize_in_chunks(curvature_batch, inputs, targets)
            except NotCovered as reason:
                self._chosen = AutogradModel(self._model, self._loss, str(reason))
        return self._chosen.linearize(inputs, targets)

    def _choose(self, inputs: Tensor) -> TracedModel | AutogradModel:
        if self._autograd:
            return AutogradModel(self._model, self._loss, "method autograd was requested")
        try:
            traced = TracedModel(self._model, self._loss)
            traced.check(inputs)
        except NotCovered as reason:
            return AutogradModel(self._model, self._loss, str(reason))
        for name in (n for block in self._blocks for n in traced.unreached(block)):
            raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        return traced
