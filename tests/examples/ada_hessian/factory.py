"""AdaHessian: the factory, with the optimizer of `pip install pytorch_optimizer`."""

from functools import partial

import pytorch_optimizer
from torch import nn

from tests.examples.ada_hessian.settings import AdaHessian
from worker.optim import FirstOrder, Loss


def make(chosen: AdaHessian, model: nn.Module, loss: Loss, _: list[list[str]]) -> FirstOrder:
    """Make the optimizer, whose gradients have a graph for the products."""
    build = partial(
        pytorch_optimizer.AdaHessian,
        lr=chosen.learning_rate,
        num_samples=chosen.products,
        hessian_power=chosen.hessian_power,
    )
    return FirstOrder(model, loss, build, hessian_products=chosen.products)
