"""What one gets from PyPI: the public packages' Gauss-Newton products inside a plain conjugate gradient."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from worker.optim import SquaredError
from worker.optim.losses import Loss

Product = Callable[[Tensor], Tensor]


def curvlinops(model: nn.Module, loss: Loss, parameters: list[nn.Parameter], x: Tensor, t: Tensor) -> Product:
    """Return v -> G_b v by curvlinops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from curvlinops import GGNLinearOperator
    matrix = GGNLinearOperator(model, _torch_loss(loss), parameters, [(x, t)], check_deterministic=False)

    def product(v: Tensor) -> Tensor:
        result: Tensor = matrix @ v
        return result

    return product


def backpack(model: nn.Module, loss: Loss, parameters: list[nn.Parameter], x: Tensor, t: Tensor) -> Product:
    """Return v -> G_b v by BackPACK, its graph built once per batch."""
    from backpack.hessianfree.ggnvp import ggn_vector_product_from_plist

    outputs = model(x)
    value = _torch_loss(loss)(outputs, t)

    def product(v: Tensor) -> Tensor:
        parts = torch.split_with_sizes(v, [p.numel() for p in parameters])
        shaped = [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
        return torch.cat([g.flatten() for g in ggn_vector_product_from_plist(value, outputs, parameters, shaped)])

    return product


def plain_solve(product: Product, b: Tensor, damping: float, iterations: int) -> Tensor:
    """Run conjugate gradient from a start that costs one product, as every update but the first does."""
    x = 0.95 * b
    r = product(x) + damping * x - b
    p, rr = -r, r @ r
    for _ in range(iterations):
        q = product(p) + damping * p
        alpha = rr / (p @ q)
        x = x + alpha * p
        r = r + alpha * q
        before, rr = rr, r @ r
        p = rr / before * p - r
    return x


def _torch_loss(loss: Loss) -> nn.Module:
    return nn.MSELoss() if isinstance(loss, SquaredError) else nn.CrossEntropyLoss()
