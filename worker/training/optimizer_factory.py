"""From a run's configuration to an optimizer of `worker.optim`."""

from torch import nn

from backend.schemas import optimizers as schemas
from backend.schemas.optimizers import EqualPartition, ExplicitPartition, LayerPartition
from worker.optim import Adam, BlockHessianFree, HessianFree, Loss, equal_partition, layer_names, layer_partition
from worker.problems.problem import Problem

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
        betas = (chosen.beta1, chosen.beta2)
        return Adam(model, loss, learning_rate=chosen.learning_rate, betas=betas, eps=chosen.eps)
    settings = chosen.model_dump(exclude={"kind", "gradient_batch", "partition", "block_damping"})
    settings["warm_start"] = settings.pop("momentum")
    method = settings.pop("curvature_way")
    settings["product_method"] = "autograd" if method == "generic" else method
    if isinstance(chosen, schemas.HessianFree):
        return HessianFree(model, loss, **settings)
    return BlockHessianFree(model, loss, blocks, **settings | {"damping": chosen.dampings or chosen.damping})
