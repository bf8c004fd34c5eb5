"""From an optimizer's settings to an optimizer of `worker.optim`: one factory for each kind."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from backend.errors import RunFailed
from backend.schemas import optimizers as schemas
from backend.schemas.optimizer_registry import FAILURES, OPTIMIZERS, UnavailableOptimizer
from worker.optim import BlockHessianFree, FirstOrder, HessianFree, Loss, StepResult

log = logging.getLogger(__name__)

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
        RunFailed: no factory of this kind can be loaded.
    """
    if isinstance(chosen, UnavailableOptimizer):
        reason = FAILURES.get(chosen.kind) or "its package is not installed here, or no longer accepts these settings"
        raise RunFailed(f"this worker cannot train with the optimizer {chosen.kind!r}: {reason}")
    return _factory(chosen.kind)(chosen, model, loss, blocks)


def trainable_kinds() -> list[str]:
    """Return the optimizers that can be made here; log a warning for each whose factory does not load."""
    found = []
    for kind in OPTIMIZERS:
        try:
            _factory(kind)
            found.append(kind)
        except RunFailed as error:
            log.warning("skipped an optimizer: %s", error)
    return found


def _factory(kind: str) -> Factory:
    """Return the factory of a kind. That of a built-in optimizer is never replaced.

    Raises:
        RunFailed: there is none, or more than one, or it does not load.
    """
    if kind in FACTORIES:
        return FACTORIES[kind]
    points = {point.value: point for point in entry_points(group=GROUP, name=kind)}
    if len(points) != 1:
        count = "several packages have" if points else "no package has"
        raise RunFailed(f"{count} an entry point {GROUP} of the name {kind!r}: it must be in exactly one package")
    [point] = points.values()
    try:
        factory: Factory = point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise RunFailed(f"the factory of the optimizer {kind!r} ({point.value}) does not load: {reason}") from error
    return factory
