"""Losses in closed form: value, gradient, Hessian by the outputs and a square root of it."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from worker.optim.errors import BatchError


class Loss(Protocol):
    """A loss that is convex in the outputs f (N x ...), a mean over the N examples, which may be weighted.

    Gradient, Hessian and square root are those of the mean, so they contain the factor 1/N. Targets have N rows, in any
    shape that the loss accepts. The methods are checked against each other at the first batch. Losses of torch and
    functions become such objects by `worker.optim.torch_losses.as_loss`.
    """

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        ...

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative of `value` by the outputs, in their shape."""
        ...

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """Return H_l times the vectors (N x ..., or a stack K x N x ...), H_l the Hessian of `value` by the outputs."""
        ...


@runtime_checkable
class RootedLoss(Loss, Protocol):
    """A loss that also has a square root of its Hessian.

    Without one the methods "explicit" and, for wide interfaces, "interface" are not available.
    """

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return S (K x N x ...) with H_l = sum over k of S_k S_k', for each example alone.

        Each of the K columns costs a backward pass where it is used.
        """
        ...


class SquaredError:
    """l = mean over examples of sum over outputs (f - t)^2; gradient 2 (f - t) / N, H_l = (2 / N) I."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over examples of the sum over outputs; raises BatchError on unequal shapes."""
        _check_equal(outputs, targets)
        return (outputs - targets).square().sum() / len(outputs)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 2 (f - t) / N."""
        return (outputs - targets).mul_(2 / len(outputs))

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return 2 v / N."""
        return vectors * (2 / len(outputs))

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return sqrt(2 / N) e_k for every output k."""
        width = outputs[0].numel()
        eye = torch.eye(width, dtype=outputs.dtype, device=outputs.device).mul_((2 / len(outputs)) ** 0.5)
        return eye.view(width, 1, *outputs.shape[1:]).expand(width, *outputs.shape)


class SoftmaxCrossEntropy:
    """l = mean over examples of -log softmax(f)[t], f logits (N x C), t class numbers (N).

    Gradient (p - e_t) / N, H_l = (diag(p) - p p') / N, of rank C - 1: H_l = sum over k < C of S_k S_k' with
    S_k = sqrt(p_k / N) (e_k - (p + sqrt(p_C) e_C) / (1 + sqrt(p_C))).
    """

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy; raises BatchError where logits and class numbers do not fit."""
        _check_classes(outputs, targets)
        return torch.nn.functional.cross_entropy(outputs, targets)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (p - e_t) / N."""
        _check_classes(outputs, targets)
        result = outputs.softmax(1)
        result[torch.arange(len(targets), device=targets.device), targets] -= 1
        return result.div_(len(outputs))

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return (p * v - p (p'v)) / N."""
        p = outputs.softmax(1)
        pv = p * vectors
        return (pv - p * pv.sum(-1, keepdim=True)).div_(len(outputs))

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002 - protocol
        """Return the C - 1 columns S_k."""
        return softmax_columns(outputs.softmax(1), len(outputs))


MEANS = (SquaredError, SoftmaxCrossEntropy)
"""losses known to be plain means over the examples: exactly these classes, since a subclass may change that"""


def softmax_columns(p: Tensor, divisor: int = 1) -> Tensor:
    """Return S (C - 1 x N x C) with (diag(p) - p p') / divisor = sum over k of S_k S_k', for each example alone.

    Args:
        p: probabilities, N x C.
        divisor: a positive number.
    """
    last = p[:, -1:].sqrt()
    shared = torch.cat([p[:, :-1], p[:, -1:] + last], 1) / (1 + last)
    columns = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)[:-1, None, :] - shared
    return columns * (p[:, :-1] / divisor).sqrt().t()[:, :, None]


def _check_equal(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise BatchError(
            f"outputs are {list(outputs.shape)} and targets {list(targets.shape)}: squared error needs equal shapes"
        )


def _check_classes(outputs: Tensor, targets: Tensor) -> None:
    if outputs.dim() != 2 or targets.shape != outputs.shape[:1] or targets.dtype != torch.int64:
        raise BatchError(
            f"outputs are {list(outputs.shape)} and targets {list(targets.shape)} of {targets.dtype}: "
            "softmax cross-entropy needs logits [N, C] and int64 class numbers [N]"
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < outputs.shape[1]:
        raise BatchError(
            f"class numbers are {int(targets.min())} to {int(targets.max())}: must be 0 to {outputs.shape[1] - 1}; "
            "nn.CrossEntropyLoss ignores a number"
        )
