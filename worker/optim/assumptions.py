"""The method's assumptions on outputs and loss, tested at the first batch, before any weight changes."""

import torch
from torch import Tensor

from worker.optim.errors import BatchError, LossError, ModelError
from worker.optim.losses import Loss

EXAMPLES = 64
PROBES = 4


def check_outputs(outputs: object, inputs: Tensor) -> Tensor:
    """Return the outputs; raise BatchError unless they are one tensor with one row per example."""
    if isinstance(outputs, Tensor) and outputs.dim() and len(outputs) == len(inputs):
        return outputs
    got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise BatchError(f"the model returned {got}: must be one tensor with {len(inputs)} examples in dimension 0")


def check_independence(few: Tensor, whole: Tensor) -> None:
    """Raise ModelError where the first examples alone have other outputs than within the batch.

    few: outputs of the first examples. whole: outputs of the batch. The mean of J'HJ over a part of the batch says
    nothing of a function whose outputs depend on who else is in the batch.
    """
    within = whole[: len(few)]
    if few.shape != within.shape or not bool(few.isfinite().all() and within.isfinite().all()):
        return
    scale = torch.finfo(few.dtype).eps ** 0.5 * float(within.abs().max())
    if float((few - within).abs().max()) > scale:
        raise ModelError(
            "an example's outputs change with the other examples of its batch, as in batch normalization in training "
            "mode: call the model's eval() first, or use a normalization that looks at one example at a time"
        )


def check_loss(loss: Loss, outputs: Tensor, targets: Tensor) -> None:
    """Raise LossError where a method of the loss has the wrong shape, or H_l is not positive semi-definite.

    v'H_l v is computed in float64 for random v at a few examples, each of which has its own block of H_l; it must
    not be below -1e-9 (|v|^2 / N + |v| |H_l v|).
    """
    f, t = outputs[:EXAMPLES].detach().double(), targets[:EXAMPLES]
    t = t.double() if t.is_floating_point() else t
    if hasattr(loss, "root") and not hasattr(loss, "hessian_square_root"):
        raise LossError("the loss's root() is called hessian_square_root() now: rename it")
    value, gradient = loss.value(f, t), loss.gradient(f.clone(), t)
    if value.dim():
        raise LossError(f"the loss has the shape {list(value.shape)}: value() must return the mean, a scalar")
    if gradient.shape != f.shape:
        raise LossError(
            f"the loss's gradient() is {list(gradient.shape)}: must have the outputs' shape {list(f.shape)}"
        )
    v = torch.randn((PROBES, *f.shape), dtype=f.dtype, generator=torch.Generator().manual_seed(0)).to(f.device)
    hv = loss.hessian_product(f, t, v.clone())
    if hv.shape != v.shape:
        raise LossError(
            f"the loss's hessian_product() is {list(hv.shape)}: must have the vectors' shape {list(v.shape)}"
        )
    v, hv = v.flatten(2) if v.dim() > 2 else v[..., None], hv.flatten(2) if hv.dim() > 2 else hv[..., None]
    curvature = (v * hv).sum(-1)
    rounding = 1e-9 * (v.square().sum(-1) / len(f) + v.norm(dim=-1) * hv.norm(dim=-1))
    if bool((curvature < -rounding).any()):
        raise LossError(
            f"the loss is not convex in the outputs: its second derivative along some direction is "
            f"{float(curvature.min()):.3g}, below 0; the Gauss-Newton matrix needs a convex loss"
        )
