"""The method's assumptions on outputs and loss, tested at the first batch, before any weight changes."""

import torch
from torch import Tensor

from worker.optim.errors import BatchError, LossError, ModelError
from worker.optim.losses import Loss, RootedLoss

EXAMPLES = 64
"""at most this number of examples is checked"""
PROBES = 4
"""random vectors for which products with H_l are checked"""
_NUMBERS = 1 << 20
"""limit of the numbers in a stack of vectors of a check"""


def check_outputs(outputs: object, count: int) -> Tensor:
    """Return the outputs.

    Args:
        outputs: what the model returned.
        count: N, examples of the batch.

    Raises:
        BatchError: they are not one tensor with one row per example.
    """
    if isinstance(outputs, Tensor) and outputs.dim() and len(outputs) == count:
        return outputs
    hint = "" if isinstance(outputs, Tensor) else "; choose one output by outputs=..."
    got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise BatchError(f"the model returned {got}: must be one tensor with {count} examples in dimension 0{hint}")


def check_independence(few: Tensor, again: Tensor, whole: Tensor) -> None:
    """Check that an example's outputs depend on this example alone.

    The mean of J'HJ over a part of the batch describes no function whose outputs depend on the rest of the batch.

    Args:
        few: outputs of the first examples.
        again: the same from a second forward pass.
        whole: outputs of the batch.

    Raises:
        ModelError: they differ by more than rounding.
    """
    within = whole[: len(few)]
    if few.shape != within.shape or not bool(few.isfinite().all() and within.isfinite().all()):
        return
    limit = torch.finfo(few.dtype).eps ** 0.5 * float(within.abs().max())
    if few.shape == again.shape and float((few - again).abs().max()) > limit:
        raise ModelError(
            "two forward passes over the same examples differ: the forward pass is random or changes its own state; "
            "make it deterministic"
        )
    if float((few - within).abs().max()) > limit:
        raise ModelError(
            "an example's outputs change with the other examples of its batch, as in batch normalization in training "
            "mode: call the model's eval() first, or use a normalization that looks at one example at a time, such as "
            "GroupNorm"
        )


def check_loss(loss: Loss, outputs: Tensor, targets: Tensor) -> None:
    """Check the loss at a few examples, in the outputs' own precision.

    Gradient and products with H_l are compared with automatic differentiation of `value`, the square root with the
    products. `value` must not change where every example occurs twice, as that of a mean. v'H_l v is computed for
    random v; it must not be below zero by more than rounding.

    Args:
        loss: the loss.
        outputs: of the first batch, N x ...
        targets: N targets.

    Raises:
        LossError: a method has the wrong shape, the methods do not fit each other, the loss is no mean, or it is not
            convex; the text has the factor by which a method is off.
    """
    if hasattr(loss, "root") and not isinstance(loss, RootedLoss):
        raise LossError("the loss's root() is called hessian_square_root() now: rename it")
    few = max(2, min(EXAMPLES, _NUMBERS // (PROBES * outputs[0].numel())))
    f, t = outputs[:few].detach(), targets[:few]
    value, gradient = loss.value(f, t), loss.gradient(f.clone(), t)
    if value.dim():
        raise LossError(f"the loss has the shape {list(value.shape)}: value() must return the mean, a scalar")
    if gradient.shape != f.shape:
        raise LossError(
            f"the loss's gradient() is {list(gradient.shape)}: must have the outputs' shape {list(f.shape)}"
        )
    generator = torch.Generator("cpu").manual_seed(0)
    v = torch.randn((PROBES, *f.shape), dtype=f.dtype, generator=generator, device="cpu").to(f.device)
    hv = loss.hessian_product(f, t, v.clone())
    if hv.shape != v.shape:
        raise LossError(
            f"the loss's hessian_product() is {list(hv.shape)}: must have the vectors' shape {list(v.shape)}"
        )
    _check_convex(v, hv)
    _check_mean(loss, f, t, value)
    _check_derivatives(loss, f, t, gradient, v, hv)
    _check_square_root(loss, f, t, v)


def _check_convex(v: Tensor, hv: Tensor) -> None:
    """Check v'H_l v of each example alone, which has its own block of H_l."""
    v, hv = (u.flatten(2) if u.dim() > 2 else u.unsqueeze(2) for u in (v, hv))
    curvature, eps = (v * hv).sum(-1), torch.finfo(v.dtype).eps
    rounding = 32 * eps * v.square().sum(-1) / v.shape[1] + eps**0.5 * v.norm(dim=-1) * hv.norm(dim=-1)
    if bool((curvature < -rounding).any()):
        raise LossError(
            f"the loss is not convex in the outputs: its second derivative along some direction is "
            f"{float(curvature.min()):.3g}, below 0; the Gauss-Newton matrix needs a convex loss"
        )


def _check_mean(loss: Loss, f: Tensor, t: Tensor, value: Tensor) -> None:
    twice = loss.value(torch.cat([f, f]), torch.cat([t, t]))
    if bool((twice - value).abs() > torch.finfo(f.dtype).eps ** 0.5 * value.abs()):
        raise LossError(
            f"value() is {float(twice / value):.3g} times as large where every example occurs twice: "
            "must be a mean over the examples, not a sum"
        )


def _check_derivatives(loss: Loss, f: Tensor, t: Tensor, gradient: Tensor, v: Tensor, hv: Tensor) -> None:
    """Compare gradient and H_l v with automatic differentiation of the value, where that has a derivative."""
    leaf = f.clone().requires_grad_()
    with torch.enable_grad():
        value = loss.value(leaf, t)
        if not value.requires_grad:
            return
        (expected,) = torch.autograd.grad(value, leaf, create_graph=True)
    rounding = 32 * torch.finfo(f.dtype).eps * max(1.0, abs(float(value.detach())))
    _compare("gradient() is not the derivative of value()", gradient, expected.detach(), rounding * f.numel() ** -0.5)
    second = torch.zeros_like(v)
    if expected.requires_grad:
        try:
            products = [torch.autograd.grad(expected, leaf, u, retain_graph=True, allow_unused=True)[0] for u in v]
        except RuntimeError:  # an operation of value() has no second derivative
            return
        second = torch.stack([torch.zeros_like(leaf) if p is None else p for p in products])
    text = "hessian_product() is not the second derivative of value()"
    _compare(text, hv, second, rounding * float(v.norm()) / len(f))


def _check_square_root(loss: Loss, f: Tensor, t: Tensor, v: Tensor) -> None:
    few = min(len(f), _NUMBERS // f[0].numel() ** 2)
    if not few or not isinstance(loss, RootedLoss):
        return
    f, t, v = f[:few], t[:few], v[:, :few]
    root = loss.hessian_square_root(f, t)
    if root.shape[1:] != f.shape:
        raise LossError(f"hessian_square_root() is {list(root.shape)}: must be [K, {', '.join(map(str, f.shape))}]")
    s, flat = root.flatten(2) if f.dim() > 1 else root.unsqueeze(2), v.reshape(len(v), few, -1)
    product = torch.einsum("knc,pnk->pnc", s, torch.einsum("knc,pnc->pnk", s, flat)).view(v.shape)
    expected = loss.hessian_product(f, t, v.clone())
    rounding = 32 * torch.finfo(f.dtype).eps * float(v.norm()) / few
    _compare("hessian_square_root() times its transpose is not hessian_product()", product, expected, rounding)


def _compare(text: str, found: Tensor, expected: Tensor, rounding: float) -> None:
    """Raise LossError where two tensors differ; rounding: allowed length of the difference, beside a relative one."""
    found, expected = found.flatten(), expected.flatten()
    if not bool(found.isfinite().all() and expected.isfinite().all()):
        return
    limit = torch.finfo(found.dtype).eps ** 0.5 * float(expected.norm()) + rounding
    if float((found - expected).norm()) > limit:
        square = float(expected @ expected)
        factor = f"{float(found @ expected) / square:.3g} times as large" if square else "not zero, as it should be"
        raise LossError(f"{text}: along it, it is {factor}")
