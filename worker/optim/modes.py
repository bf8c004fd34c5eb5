"""The modes of a model's modules: which of them the method cannot use, and batch normalization in evaluation mode."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

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


def coupled_layer(model: nn.Module, run: Callable[[Any], Any], few: Any, whole: Any) -> str:
    """Find where two batches with the same first examples differ, for the text of an error.

    Args:
        model: the module.
        run: runs its forward pass.
        few: the first examples.
        whole: all examples.

    Returns:
        "layer 'name' (its class): " of the first layer whose outputs at the first examples differ; empty: none is.
    """
    seen: dict[str, Tensor] = {}
    found: list[str] = []

    def watch(name: str, module: nn.Module, outputs: Any) -> None:
        if not isinstance(outputs, Tensor) or not outputs.dim():
            return
        other = seen.setdefault(name, outputs.detach())
        if other is outputs or other.shape[1:] != outputs.shape[1:] or len(other) >= len(outputs):
            return
        limit = torch.finfo(other.dtype).eps ** 0.5 * float(outputs.abs().max()) if other.is_floating_point() else 0.0
        if float((outputs.detach()[: len(other)] - other).abs().max()) > limit:
            found.append(f"layer {name!r} ({type(module).__name__}): ")

    handles = [
        module.register_forward_hook(lambda m, _, outputs, name=name: watch(name, m, outputs))
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    try:
        run(few)
        run(whole)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""


def _is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
