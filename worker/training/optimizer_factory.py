"""From an optimizer's settings to an optimizer of `worker.optim`: one factory for each kind."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from backend.errors import RunFailed
from backend.schemas import optimizers as schemas
from worker.optim import BlockHessianFree, FirstOrder, HessianFree, Loss, StepResult

GROUP = "blockhf.optimizer_factories"


class Optimizer(Protocol):
    """What training needs of an optimizer."""

    def step(self, inputs: Tensor, targets: Tensor) -> StepResult:
        """Do one update from a batch: inputs N x ..., targets as the loss takes them."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the weights: `state` and `param_groups` as torch has it."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        ...


Factory = Callable[[Any, nn.Module, Loss, list[list[str]]], Optimizer]
"""(settings, model, loss, layer names of each block) -> optimizer"""


def _adam(chosen: schemas.Adam, model: nn.Module, loss: Loss, _: list[list[str]]) -> Optimizer:
    betas = (chosen.beta1, chosen.beta2)
    return FirstOrder(model, loss, partial(torch.optim.Adam, lr=chosen.learning_rate, betas=betas, eps=chosen.eps))


def _adamw(chosen: schemas.AdamW, model: nn.Module, loss: Loss, _: list[list[str]]) -> Optimizer:
    betas, decay = (chosen.beta1, chosen.beta2), chosen.weight_decay
    make = partial(torch.optim.AdamW, lr=chosen.learning_rate, betas=betas, eps=chosen.eps, weight_decay=decay)
    return FirstOrder(model, loss, make)


def _sgd(chosen: schemas.Sgd, model: nn.Module, loss: Loss, _: list[list[str]]) -> Optimizer:
    return FirstOrder(model, loss, partial(torch.optim.SGD, lr=chosen.learning_rate, momentum=chosen.momentum))


def _hf(chosen: schemas.HessianFree, model: nn.Module, loss: Loss, _: list[list[str]]) -> Optimizer:
    return HessianFree(model, loss, **_solver_settings(chosen))


def _bhf(chosen: schemas.BlockHessianFree, model: nn.Module, loss: Loss, blocks: list[list[str]]) -> Optimizer:
    damping = chosen.block_damping or chosen.damping
    return BlockHessianFree(model, loss, blocks, **_solver_settings(chosen) | {"damping": damping})


def _solver_settings(chosen: schemas.CurvatureSettings) -> dict[str, Any]:
    return chosen.model_dump(include=set(schemas.CurvatureSettings.model_fields) - {"kind", "gradient_batch"})


FACTORIES: Mapping[str, Factory] = {"adam": _adam, "hf": _hf, "bhf": _bhf, "sgd": _sgd, "adamw": _adamw}


def make_optimizer(
    chosen: schemas.OptimizerSettings, model: nn.Module, loss: Loss, blocks: list[list[str]]
) -> Optimizer:
    """Make an optimizer with its settings.

    Args:
        chosen: the settings.
        model: the network.
        loss: its loss.
        blocks: layer names of each block; empty if the optimizer has no blocks.

    Raises:
        OptimError: the blocks do not fit the model, or the optimizer does not apply to it.
        RunFailed: neither BlockHF nor an installed package has a factory for this kind.
    """
    factory = FACTORIES.get(chosen.kind)
    if factory is None:
        found = entry_points(group=GROUP, name=chosen.kind)
        if not found:
            raise RunFailed(f"optimizer {chosen.kind!r} is not installed on this worker: install its package here")
        factory = next(iter(found)).load()
    return factory(chosen, model, loss, blocks)
