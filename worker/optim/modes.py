"""The modes of a model's modules: which of them the method cannot use, and batch normalization in evaluation mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from worker.optim.errors import ModelError

BATCH_NORM = ("refuse", "eval")
"""what is done about batch normalization in training mode: an error, or evaluation mode during a step"""


def check_modes(model: nn.Module) -> None:
    """Check the modes of a model's modules.

    Batch normalization in training mode couples the examples of a batch, and active dropout changes the function
    between products: with either there is no Gauss-Newton matrix to solve with. Sparse gradients are not supported.

    Args:
        model: the module.

    Raises:
        ModelError: modules have such a mode; the text names them.
    """
    couple = [
        f"layer {name!r} is {type(module).__name__} in training mode"
        for name, module in model.named_modules()
        if _is_batch_norm(module) and (module.training or module.running_mean is None)
    ]
    if couple:
        raise ModelError(
            f"{', '.join(couple)}, which couples the examples of a batch: set batch_norm='eval' to use the running "
            "statistics, call eval() first, or use GroupNorm or LayerNorm"
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ModelError(
                f"layer {name!r} is active dropout, which is another function at each pass: call its eval() first"
            )
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise ModelError(f"layer {name!r} has sparse gradients, which are not supported: make it with sparse=False")
        if isinstance(module, nn.RNNBase) and module.training and module.dropout > 0:
            raise ModelError(f"layer {name!r} has active dropout, which is another function at each pass: set it to 0")


@contextmanager
def evaluated_batch_norm(model: nn.Module) -> Iterator[None]:
    """Put batch normalization into evaluation mode, and back at the end. Its running statistics do not change.

    Args:
        model: the module.
    """
    changed = [module for module in model.modules() if _is_batch_norm(module) and module.training]
    for module in changed:
        module.training = False
    try:
        yield
    finally:
        for module in changed:
            module.training = True


def _is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
