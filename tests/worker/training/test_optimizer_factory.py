"""Tests of how a configuration becomes an optimizer."""

import pytest

from backend.catalog.partitions import expand, layer_sizes
from backend.schemas.optimizers import (
    Adam,
    BlockHessianFree,
    EqualPartition,
    ExplicitPartition,
    HessianFree,
    LayerPartition,
    Partition,
    ProblemPartition,
)
from worker import optim
from worker.optim import layer_names
from worker.problems.autoencoder import PROBLEM, AutoencoderOptions
from worker.problems.data.mnist_5k import INFO
from worker.problems.registry import describe
from worker.training.optimizer_factory import make_optimizer, resolve_blocks

WIDTHS = [
    {"hidden_1": 1000, "hidden_2": 500, "hidden_3": 250, "code": 30},
    {"hidden_1": 1, "hidden_2": 1, "hidden_3": 1, "code": 1},
    {"hidden_1": 30, "hidden_2": 300, "hidden_3": 300, "code": 300},
    {"hidden_1": 9, "hidden_2": 700, "hidden_3": 2, "code": 500},
]
ENCODER, DECODER = PROBLEM.partition
PARTITIONS: list[Partition] = [
    ProblemPartition(),
    LayerPartition(),
    ExplicitPartition(blocks=[DECODER, ENCODER]),
    *(EqualPartition(count=count) for count in range(1, 9)),
]


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("partition", PARTITIONS, ids=str)
def test_worker_and_backend_expand_partitions_alike(widths: dict[str, int], partition: Partition) -> None:
    """What the launch page shows before the launch is what the worker trains with."""
    info = describe(PROBLEM, [INFO])
    sizes = layer_sizes(info, INFO, widths)
    model = PROBLEM.build(AutoencoderOptions.model_validate(widths), INFO)
    ours = resolve_blocks(BlockHessianFree(partition=partition), PROBLEM, model)
    assert ours == expand(partition, info, sizes, field="partition")


def test_adam_has_no_blocks_and_hf_one() -> None:
    """HF's one block holds every layer."""
    model = PROBLEM.build(AutoencoderOptions(hidden_1=2, hidden_2=2, hidden_3=2, code=2), INFO)
    assert resolve_blocks(Adam(), PROBLEM, model) == []
    assert resolve_blocks(HessianFree(), PROBLEM, model) == [layer_names(model)]


@pytest.mark.parametrize(
    ("chosen", "knobs"),
    [
        (
            Adam(learning_rate=0.02, beta1=0.8, beta2=0.95, eps=1e-5),
            {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-5},
        ),
        (
            HessianFree(
                learning_rate=0.2, damping=0.3, max_cg_iterations=7, momentum=0.5, cg_stop="martens", cg_tolerance=0.01,
                adaptive_damping=True, line_search=True,
            ),
            {
                "lr": 0.2, "damping": 0.3, "max_cg_iterations": 7, "warm_start": 0.5, "cg_stop": "martens",
                "cg_tolerance": 0.01,
                "adaptive_damping": True, "backtracking": False, "line_search": True, "preconditioner": False,
            },
        ),
        (
            BlockHessianFree(
                learning_rate=0.4,
                damping=0.1,
                max_cg_iterations=3,
                momentum=0.0,
                curvature_way="products",
                product_precision="bfloat16",
                memory_limit=7,
                backtracking=True,
                preconditioner=True,
            ),
            {
                "lr": 0.4, "damping": 0.1, "max_cg_iterations": 3, "warm_start": 0.0, "cg_stop": "iterations",
                "cg_tolerance": 5e-4,
                "adaptive_damping": False, "backtracking": True, "line_search": False, "preconditioner": True,
            },
        ),
    ],
)  # fmt: skip
def test_every_knob_reaches_the_optimizer(
    chosen: Adam | HessianFree | BlockHessianFree, knobs: dict[str, object]
) -> None:
    """Each knob of the configuration is the optimizer's, in every group."""
    model = PROBLEM.build(AutoencoderOptions(hidden_1=2, hidden_2=2, hidden_3=2, code=2), INFO)
    optimizer = make_optimizer(chosen, model, PROBLEM.loss, resolve_blocks(chosen, PROBLEM, model))
    for group in optimizer.param_groups:
        assert {name: group[name] for name in knobs} == knobs
    if not isinstance(chosen, Adam):
        assert isinstance(optimizer, optim.BlockHessianFree)
        assert optimizer.settings.curvature_batch == chosen.curvature_batch
        assert optimizer.settings.product_method == chosen.curvature_way
        assert optimizer.settings.memory_limit == chosen.memory_limit
        assert optimizer.settings.product_precision == chosen.product_precision


def test_blocks_may_have_a_damping_each() -> None:
    """A damping per block goes to its block; as many are needed as there are blocks."""
    model = PROBLEM.build(AutoencoderOptions(hidden_1=2, hidden_2=2, hidden_3=2, code=2), INFO)
    optimizer = make_optimizer(BlockHessianFree(block_damping="0.5 1e-3"), model, PROBLEM.loss, PROBLEM.partition)
    assert [group["damping"] for group in optimizer.param_groups] == [0.5, 1e-3]
    with pytest.raises(optim.PartitionError, match="damping has 3 values: must be one number, or 2"):
        make_optimizer(BlockHessianFree(block_damping="1 2 3"), model, PROBLEM.loss, PROBLEM.partition)
