"""From a run's configuration to an optimizer of `worker.optim`."""

from typing import Any

from torch import nn

from backend.schemas import optimizers as schemas
from backend.schemas.optimizers import EqualPartition, ExplicitPartition, LayerPartition
from worker.optim import (
    Adam,
    BlockHessianFree,
    HessianFree,
    Loss,
    StopRule,
    equal_partition,
    layer_names,
    layer_partition,
)
from worker.problems.problem import Problem

MIB = 1 << 20

Optimizer = Adam | BlockHessianFree  # HF is the latter, with one block


def resolve_blocks(chosen: schemas.Optimizer, problem: Problem, model: nn.Module) -> list[list[str]]:
    """List the layers of each block: none for Adam, one block of every layer for HF."""
    if isinstance(chosen, schemas.Adam):
        return []
    if isinstance(chosen, schemas.HessianFree):
        return [layer_names(model)]
    partition = chosen.partition
    if isinstance(partition, ExplicitPartition):
        return partition.blocks
    if isinstance(partition, EqualPartition):
        return equal_partition(model, partition.count)
    return layer_partition(model) if isinstance(partition, LayerPartition) else problem.partition


def make_optimizer(chosen: schemas.Optimizer, model: nn.Module, loss: Loss, blocks: list[list[str]]) -> Optimizer:
    """Make the optimizer with the configured knobs.

    Raises:
        OptimError: the blocks do not fit the model, or the model cannot be optimized so.
    """
    if isinstance(chosen, schemas.Adam):
        return Adam(model, loss, lr=chosen.learning_rate, betas=(chosen.beta1, chosen.beta2), eps=chosen.eps)
    knobs: dict[str, Any] = {
        "lr": chosen.learning_rate,
        "damping": chosen.damping,
        "max_cg_iters": chosen.max_cg_iterations,
        "momentum": chosen.momentum,
        "stop": StopRule(chosen.cg_stop.value, chosen.cg_tolerance),
        "curvature_batch": chosen.curvature_batch,
        "way": chosen.curvature_way.value,
        "memory": chosen.memory_limit * MIB,
        "adaptive_damping": chosen.adaptive_damping,
        "backtracking": chosen.backtracking,
        "line_search": chosen.line_search,
        "preconditioner": chosen.preconditioner,
        "product_precision": chosen.product_precision.value,
    }
    if isinstance(chosen, schemas.HessianFree):
        return HessianFree(model, loss, **knobs)
    return BlockHessianFree(model, loss, blocks, **knobs | {"damping": chosen.dampings or chosen.damping})
