"""What a model's batches are linearized by: its rules, or double backward where an operation has none."""

from collections.abc import Sequence

from torch import Tensor, nn

from worker.optim.blocks import Block, check_modes
from worker.optim.curvature.autograd_model import GenericBatch, GenericModel
from worker.optim.curvature.chunked_batch import PiecedBatch
from worker.optim.curvature.rules.base import NotCovered
from worker.optim.curvature.traced_model import WrittenBatch, WrittenModel
from worker.optim.errors import ModelError
from worker.optim.losses import Loss


class Source:
    """Chooses at the first batch, and again where a module's mode has changed since the last.

    generic: whether double backward is asked for. Raises ModelError: a mode in which an example's outputs depend on the
    others or on chance, or a parameter of the blocks that is not reached.
    """

    def __init__(self, model: nn.Module, loss: Loss, blocks: Sequence[Block], *, generic: bool) -> None:
        self._model, self._loss, self._blocks = model, loss, blocks
        self._generic = generic
        self._modes: tuple[bool, ...] = ()
        self._chosen: WrittenModel | GenericModel | None = None

    def at(self, inputs: Tensor, targets: Tensor, *, keep: int) -> WrittenBatch | PiecedBatch | GenericBatch:
        """Return the model linearized at a batch; of its first `keep` examples the activations are wanted later."""
        modes = tuple(m.training for m in self._model.modules())
        if self._chosen is None or modes != self._modes:
            check_modes(self._model)
            self._chosen, self._modes = self._choose(inputs), modes
        if isinstance(self._chosen, WrittenModel):
            try:
                return self._chosen.at_most(keep, inputs, targets)
            except NotCovered as reason:
                self._chosen = GenericModel(self._model, self._loss, str(reason))
        return self._chosen.at(inputs, targets)

    def _choose(self, inputs: Tensor) -> WrittenModel | GenericModel:
        if self._generic:
            return GenericModel(self._model, self._loss, "the generic way was asked for")
        try:
            source = WrittenModel(self._model, self._loss)
            source.check(inputs)
        except NotCovered as reason:
            return GenericModel(self._model, self._loss, str(reason))
        for name in (n for block in self._blocks for n in source.unreached(block)):
            raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        return source
