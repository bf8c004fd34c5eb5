"""Losses of torch, and any convex function value(outputs, targets), with the derivatives that the optimizers need."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.optim.errors import BatchError, LossError
from worker.optim.losses import Loss, softmax_columns


class FunctionLoss:
    """A loss given by its value. Gradient and Hessian products are by automatic differentiation.

    Args:
        function: (outputs N x .., targets) -> the mean loss, a scalar; convex in the outputs and twice differentiable.
            The mean may be weighted, as with class weights or ignored targets.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.function = function

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        return self.function(outputs, targets)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative of `value` by the outputs, in their shape."""
        return self._gradient(outputs, targets, twice=False)[1].detach()

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """Return H_l times the vectors (N x ..., or a stack K x N x ...)."""
        leaf, gradient = self._gradient(outputs, targets, twice=True)
        stack = vectors if vectors.dim() > outputs.dim() else vectors.unsqueeze(0)
        if not gradient.requires_grad:
            return torch.zeros_like(vectors)
        products = [torch.autograd.grad(gradient, leaf, v, retain_graph=True, allow_unused=True)[0] for v in stack]
        found = torch.stack([torch.zeros_like(leaf) if p is None else p for p in products])
        return found if vectors.dim() > outputs.dim() else found.squeeze(0)

    def _gradient(self, outputs: Tensor, targets: Tensor, *, twice: bool) -> tuple[Tensor, Tensor]:
        """Return the outputs as a leaf, and the gradient by them, with its graph where it is differentiated again."""
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            value = self.value(leaf, targets)
            if value.dim():
                raise LossError(f"the loss has the shape {list(value.shape)}: must be the mean, a scalar")
            if not value.requires_grad:
                raise LossError("the loss does not depend on the outputs: it must be differentiable by them")
            (gradient,) = torch.autograd.grad(value, leaf, create_graph=twice)
        return leaf, gradient


class ElementwiseLoss(FunctionLoss):
    """A sum or mean of terms of one output each: H_l is diagonal."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Raises:
            BatchError: outputs and targets differ in shape, which torch would broadcast to N x N terms.
        """
        if outputs.shape != targets.shape:
            raise BatchError(
                f"outputs are {list(outputs.shape)} and targets {list(targets.shape)}: this loss needs equal shapes"
            )
        return super().value(outputs, targets)

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """Return the diagonal of H_l times the vectors."""
        return self._diagonal(outputs, targets) * vectors

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return sqrt(H_kk) e_k for every output k, K x N x ..."""
        width = outputs[0].numel()
        eye = torch.eye(width, dtype=outputs.dtype, device=outputs.device).view(width, 1, *outputs.shape[1:])
        return eye * self._diagonal(outputs, targets).clamp(min=0).sqrt()

    def _diagonal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().hessian_product(outputs, targets, torch.ones_like(outputs))


class CrossEntropy:
    """Softmax cross-entropy with class weights, ignored targets and smoothed labels, in closed form.

    With q (N x C x ...) the weighted targets, s their sum over the classes and Z the sum of the weights:

        l = -sum q log p / Z    gradient (s p - q) / Z    H_l = (s / Z) (diag(p) - p p') at each position

    Args:
        options: its weight, ignore_index and label_smoothing are used. Targets are class numbers (N x ...) or
            probabilities (N x C x ...).
    """

    def __init__(self, options: nn.CrossEntropyLoss) -> None:
        self.options = options

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss as torch computes it, a scalar."""
        value: Tensor = self.options(outputs, targets)
        return value

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (s p - q) / Z."""
        q, total = self._targets(outputs, targets)
        return (q.sum(1, keepdim=True) * outputs.softmax(1) - q) / total

    def hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """Return s / Z (p * v - p (p'v)) of the vectors (N x C x ..., or a stack of them)."""
        p, classes = outputs.softmax(1), vectors.dim() - outputs.dim() + 1
        pv = p * vectors
        return (pv - p * pv.sum(classes, keepdim=True)) * self._scale(outputs, targets)

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return C - 1 columns for each position of an example, K x N x C x ..."""
        flat = outputs.flatten(2) if outputs.dim() > 2 else outputs.unsqueeze(2)
        count, classes, positions = flat.shape
        columns = softmax_columns(flat.transpose(1, 2).reshape(-1, classes).softmax(1))
        columns = columns.view(classes - 1, 1, count, positions, classes).transpose(3, 4)
        own = torch.eye(positions, dtype=flat.dtype, device=flat.device).view(1, positions, 1, 1, positions)
        scale = self._scale(outputs, targets).view(count, 1, positions).sqrt()
        return (columns * own * scale).reshape(-1, *outputs.shape)

    def _scale(self, outputs: Tensor, targets: Tensor) -> Tensor:
        q, total = self._targets(outputs, targets)
        return q.sum(1, keepdim=True) / total

    def _targets(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return q, N x C x ..., and Z."""
        smooth, classes = self.options.label_smoothing, outputs.shape[1]
        weight = outputs.new_ones(classes) if self.options.weight is None else self.options.weight.to(outputs)
        by_class = weight.view(-1, *[1] * (outputs.dim() - 2))
        if targets.is_floating_point():
            return by_class * ((1 - smooth) * targets + smooth / classes), outputs.new_tensor(
                outputs.numel() // classes
            )
        used = targets != self.options.ignore_index
        numbers = torch.where(used, targets, 0)
        own = weight[numbers] * used
        q = torch.zeros_like(outputs).scatter_(1, numbers.unsqueeze(1), ((1 - smooth) * own).unsqueeze(1))
        if smooth:
            q = q + smooth / classes * by_class * used.unsqueeze(1)
        return q, own.sum()


class NegativeLogLikelihood(CrossEntropy):
    """nn.NLLLoss of outputs that end with log_softmax: there it equals cross-entropy, whose H_l is used."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Raises:
            LossError: the outputs are not the logarithms of probabilities.
        """
        if float(outputs.detach().logsumexp(1).abs().max()) > 1e-3:
            raise LossError("NLLLoss needs outputs of log_softmax: end the model with it, or use CrossEntropyLoss")
        return super().value(outputs, targets)


_FUNCTIONS: dict[Any, Callable[[], nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
    functional.mse_loss: nn.MSELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.huber_loss: nn.HuberLoss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.poisson_nll_loss: nn.PoissonNLLLoss,
}
_ELEMENTWISE = (nn.MSELoss, nn.BCEWithLogitsLoss, nn.HuberLoss, nn.SmoothL1Loss, nn.PoissonNLLLoss)


def as_loss(loss: Any) -> Loss:
    """Return a loss with the methods of `Loss`.

    Args:
        loss: an object with these methods, which is returned as it is; a loss module or function of torch; or any
            function (outputs, targets) -> mean loss that is convex in the outputs.

    Returns:
        The loss. For those of torch H_l is in closed form, or diagonal; for other functions products with H_l are by
        automatic differentiation.

    Raises:
        LossError: it is none of these, or its reduction is no mean.
    """
    if isinstance(loss, type):
        raise LossError(f"the loss is the class {loss.__name__}: give an object, {loss.__name__}()")
    methods = [hasattr(loss, name) for name in ("value", "gradient", "hessian_product")]
    if all(methods):
        found: Loss = loss
        return found
    if any(methods) or not callable(loss):
        raise LossError(
            f"the loss is {type(loss).__name__}: give a function (outputs, targets) -> mean loss, a loss module of "
            "torch, or an object with value(), gradient() and hessian_product()"
        )
    module = _FUNCTIONS[loss]() if loss in _FUNCTIONS else loss
    if getattr(module, "reduction", "mean") != "mean":
        raise LossError(f"the loss's reduction is {module.reduction!r}: must be 'mean'")
    if type(module) is nn.CrossEntropyLoss:
        return CrossEntropy(module)
    if type(module) is nn.NLLLoss:
        return NegativeLogLikelihood(nn.CrossEntropyLoss(module.weight, ignore_index=module.ignore_index))
    return ElementwiseLoss(module) if type(module) in _ELEMENTWISE else FunctionLoss(module)
