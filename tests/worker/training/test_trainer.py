"""Tests of the loop over updates."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.errors import RunFailed
from backend.schemas.experiments import Budget, Evaluation, Problem
from backend.schemas.measures import Update
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, ExplicitPartition, HessianFree, ProductMethod
from backend.schemas.runs import RunStatus
from tests.worker.cases import (
    CLASSIFIER,
    CLOCKS,
    NOWHERE,
    OPTIMIZERS,
    SMALL,
    Rows,
    planned_blocks,
    registry,
    small_run,
    trained,
)
from worker.problems.data import mnist_5k
from worker.training.trainer import initial_model, train

STILL = {"learning_rate": 1e-30}  # the weights stay what they were, bit for bit


def without_seconds(rows: list[Update]) -> list[Update]:
    """Leave out the figures that may differ between two trainings of one run."""
    return [row.model_copy(update=dict.fromkeys(CLOCKS, 0.0)) for row in rows]


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_same_run_twice_gives_the_same_rows(optimizer: Optimizer, precision: str) -> None:
    """Every figure but the seconds is the same, bit for bit; another seed gives others."""
    config = small_run(optimizer, precision=precision, evaluation=Evaluation(train_subset=50))
    (_, first), (_, second) = trained(config), trained(config)
    _, other = trained(config.model_copy(update={"seed": 1}))
    assert len(first.rows) == 7
    assert without_seconds(first.rows) == without_seconds(second.rows)
    assert first.rows[0].batch_loss != other.rows[0].batch_loss


def test_seed_gives_every_optimizer_the_same_start_and_data() -> None:
    """With a step size that changes no weight, all three see the same losses: same weights, same batches."""
    still = [optimizer.model_copy(update=STILL) for optimizer in OPTIMIZERS.values()]
    losses = [[row.batch_loss for row in trained(small_run(optimizer))[1].rows] for optimizer in still]
    assert len(set(losses[0])) == 7
    assert losses[0] == losses[1] == losses[2]


def test_initial_weights_do_not_depend_on_the_precision() -> None:
    """In float64 a run starts from the float32 weights."""
    single, double = (
        trained(small_run(OPTIMIZERS["adam"].model_copy(update=STILL), precision=precision))[1].rows[0].batch_loss
        for precision in ("float32", "float64")
    )
    assert single == pytest.approx(double, rel=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_lowers_the_loss(optimizer: Optimizer) -> None:
    """After 30 updates train and test loss are far below the first ones."""
    _, rows = trained(small_run(optimizer, budget=Budget(updates=30)))
    first, last = rows.rows[0], rows.rows[-1]
    assert first.train_loss is not None
    assert last.train_loss is not None
    assert last.train_loss < 0.9 * first.train_loss


def test_rows_count_work_and_data() -> None:
    """Row n has seen n batches; an epoch is all training images; the cost adds up; blocks are reported."""
    _, rows = trained(small_run(OPTIMIZERS["bhf"]))
    assert [row.update for row in rows.rows] == list(range(1, 8))
    assert [row.samples for row in rows.rows] == [30 * n for n in range(1, 8)]
    assert [row.epoch for row in rows.rows] == pytest.approx([0.3 * n for n in range(1, 8)])
    costs = [row.cost for row in rows.rows]
    assert costs == sorted(costs)
    assert costs[0] > 1
    assert all(len(row.blocks) == 2 and row.blocks[0].cg_iterations == 4 for row in rows.rows)


def test_rows_tell_how_each_block_was_solved() -> None:
    """Way, predicted and counted work, and the ends of the spectrum are in the row; the work is that of the update."""
    chosen = OPTIMIZERS["bhf"].model_copy(update={"product_method": ProductMethod.PRODUCTS})
    _, rows = trained(small_run(chosen))
    first = rows.rows[0]
    assert [block.product_method for block in first.blocks] == ["products", "products"]
    assert all(block.note is None and block.predicted_cost and block.cost for block in first.blocks)
    assert first.cost == pytest.approx(1 + sum(block.cost or 0 for block in first.blocks))
    assert all(block.ritz_max and block.ritz_min and 0 < block.ritz_min < block.ritz_max for block in first.blocks)
    assert first.step_norm == pytest.approx(math.hypot(*(block.step_norm or 0 for block in first.blocks)))
    assert all(block.step_norm for block in first.blocks)


def test_a_way_that_does_not_serve_says_so() -> None:
    """The generic way has no prediction and a note; the curves are the same but for rounding."""
    generic, auto = (
        trained(small_run(OPTIMIZERS["hf"].model_copy(update={"product_method": way}), precision="float64"))[1].rows
        for way in (ProductMethod.AUTOGRAD, ProductMethod.AUTO)
    )
    assert generic[0].blocks[0].product_method == "autograd"
    assert generic[0].blocks[0].note == "method autograd was requested"
    assert generic[0].blocks[0].predicted_cost is None
    assert [row.batch_loss for row in generic] == pytest.approx([row.batch_loss for row in auto], rel=1e-6)


def test_adam_costs_one_gradient_per_update() -> None:
    """The cost of Adam's update n is n."""
    _, rows = trained(small_run(OPTIMIZERS["adam"]))
    assert [row.cost for row in rows.rows] == list(range(1, 8))


def test_start_says_what_the_run_is_made_of() -> None:
    """Blocks, parameters and the environment are reported before the first update."""
    _, rows = trained(small_run(OPTIMIZERS["bhf"]))
    assert [len(block) for block in rows.started["blocks"]] == [4, 4]
    assert rows.started["parameters"] == sum(
        (a + 1) * b for a, b in [(784, 12), (12, 8), (8, 6), (6, 3), (3, 6), (6, 8), (8, 12), (12, 784)]
    )
    assert rows.started["environment"]["threads"] == "1"


def test_evaluation_every_n_updates_and_after_the_last() -> None:
    """With every = 3, updates 3, 6 and the last, 7, have a train and a test loss; the others have none."""
    _, rows = trained(small_run(OPTIMIZERS["adam"], evaluation=Evaluation(every=3)))
    assert [row.update for row in rows.rows if row.train_loss is not None] == [3, 6, 7]
    assert [row.update for row in rows.rows if row.test_loss is not None] == [3, 6, 7]


def test_losses_are_those_of_fixed_subsets() -> None:
    """An untrained network's train loss is over the first training images, and its test loss over the test images."""
    evaluation = Evaluation(train_subset=20)
    config = small_run(OPTIMIZERS["adam"].model_copy(update=STILL), evaluation=evaluation)
    data = mnist_5k.load(NOWHERE)
    model = initial_model(registry().problem("autoencoder"), config, data)
    row = trained(config)[1].rows[-1]
    for split, size, loss in ((data.train, 20, row.train_loss), (data.test, 40, row.test_loss)):
        images = split.images[:size].flatten(1) / 255
        with torch.no_grad():
            direct = float((model(images) - images).square().sum(1).mean())
        assert loss == pytest.approx(direct, rel=1e-5)


def test_train_subset_does_not_depend_on_the_seed() -> None:
    """A network that predicts black whatever the seed has the same losses for every seed, though other batches."""
    problem = Problem(name="zero", options=SMALL, train_size=100, test_size=40)
    still = Adam(gradient_batch=10, **STILL)
    rows = [
        trained(small_run(still, problem=problem, seed=seed, evaluation=Evaluation(train_subset=10)))[1].rows[0]
        for seed in range(3)
    ]
    assert len({row.train_loss for row in rows}) == 1
    assert len({row.test_loss for row in rows}) == 1
    assert len({row.batch_loss for row in rows}) == 3


def test_accuracy_is_reported_for_a_classifier() -> None:
    """A plug-in classifier trains by its name, and its rows have an accuracy that grows beyond chance."""
    optimizer = BlockHessianFree(
        gradient_batch=100, curvature_batch=50, damping=0.1, learning_rate=1, max_cg_iterations=9
    )
    _, rows = trained(small_run(optimizer, problem=CLASSIFIER))
    assert rows.rows[-1].test_accuracy is not None
    assert rows.rows[-1].test_accuracy > 0.4
    assert rows.started["blocks"] == [["hidden"], ["scores"]]


def test_polyak_average_is_evaluated_and_does_not_touch_training() -> None:
    """With a decay the batch losses stay the same, and the evaluated losses are those of slower weights."""
    plain, averaged = (
        trained(small_run(OPTIMIZERS["bhf"], evaluation=Evaluation(polyak_decay=decay)))[1].rows
        for decay in (None, 0.9)
    )
    assert [row.batch_loss for row in plain] == [row.batch_loss for row in averaged]
    assert (plain[-1].train_loss or 0) < (averaged[-1].train_loss or 0) < (averaged[0].train_loss or 0)


def test_budget_ends_the_run() -> None:
    """A run ends at the first limit, and the reason names it."""
    outcome, rows = trained(small_run(OPTIMIZERS["adam"], budget=Budget(updates=50, epochs=1)))
    assert outcome.status is RunStatus.FINISHED
    assert "epochs = 1" in outcome.ended_by
    assert len(rows.rows) == 4  # 4 batches of 30 are the first to hold 100 images


def test_patience_ends_the_run() -> None:
    """A run with constant weights ends after its patience."""
    config = small_run(OPTIMIZERS["adam"].model_copy(update=STILL), budget=Budget(updates=50, patience=3))
    outcome, rows = trained(config)
    assert "patience = 3" in outcome.ended_by
    assert len(rows.rows) == 4


def test_cancel_ends_after_the_update() -> None:
    """A cancelled run ends after the current update, as cancelled."""
    outcome, rows = trained(small_run(OPTIMIZERS["adam"]), cancel_after=3)
    assert outcome.status is RunStatus.CANCELLED
    assert "3 updates" in outcome.ended_by
    assert len(rows.rows) == 3


def test_rows_tell_how_a_step_was_accepted() -> None:
    """With rules of acceptance a row has the share taken and the decreases of loss and model; without, nulls."""
    ruled = OPTIMIZERS["bhf"].model_copy(
        update={"adaptive_damping": True, "line_search": True, "damping": 1.0, "learning_rate": 1.0}
    )
    row = trained(small_run(ruled, precision="float64"))[1].rows[0]
    assert row.scale is not None
    assert 0 < row.scale <= 1
    assert row.reduction_ratio is not None
    assert row.loss_decrease is not None
    assert row.loss_decrease / row.reduction_ratio > 0  # what the model, which is convex, promised
    row = trained(small_run(OPTIMIZERS["bhf"]))[1].rows[0]
    assert (row.scale, row.reduction_ratio, row.loss_decrease) == (None, None, None)
    searching = OPTIMIZERS["bhf"].model_copy(update={"line_search": True})
    row = trained(small_run(searching))[1].rows[0]
    assert row.scale is not None
    assert row.reduction_ratio is None


@pytest.mark.parametrize("optimizer", [Adam(gradient_batch=30), HessianFree(gradient_batch=30, curvature_batch=10)])
def test_divergence_is_a_row_and_a_reason(optimizer: Optimizer) -> None:
    """A step size that is too large gives a last row marked diverged, with nulls; the error names the setting."""
    rows = Rows()
    config = small_run(optimizer.model_copy(update={"learning_rate": 1e30}), budget=Budget(updates=100))
    with pytest.raises(RunFailed, match="learning_rate"):
        train(config, rows, lambda: False, blocks=[], registry=registry(), folder=NOWHERE)
    assert [row.diverged for row in rows.rows] == [False] * (len(rows.rows) - 1) + [True]
    last = rows.rows[-1]
    assert None in (last.batch_loss, last.gradient_norm, last.step_norm, last.train_loss, last.test_loss)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": Adam(gradient_batch=101)}, "gradient_batch is 101"),
        ({"problem": Problem(train_size=4001)}, "train_size is 4001.*at most 4000"),
        ({"problem": Problem(test_size=1001)}, "test_size is 1001.*at most 1000"),
        ({"problem": Problem(name="nothing")}, "no problem nothing"),
        ({"problem": Problem(data="nothing")}, "no data set nothing"),
        ({"problem": Problem(options={"code": 0})}, "problem.options.code"),
        ({"problem": Problem(options={"wings": 2})}, "problem.options.wings"),
        (
            {
                "optimizer": BlockHessianFree(
                    gradient_batch=30, curvature_batch=10, partition=ExplicitPartition(blocks=[["encoder.code"]])
                )
            },
            "in no block",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(changes: dict[str, Any], message: str) -> None:
    """A configuration that cannot be trained fails before the first update; the message names the field."""
    rows = Rows()
    config = small_run(**{"optimizer": Adam(gradient_batch=30)} | changes)
    partition = config.optimizer.blocks
    blocks = partition.blocks if isinstance(partition, ExplicitPartition) else []
    with pytest.raises(RunFailed, match=message):
        train(config, rows, lambda: False, blocks=blocks, registry=registry(), folder=Path("nowhere"))
    assert rows.rows == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_gpu_starts_like_the_cpu_and_trains(optimizer: Optimizer) -> None:
    """On a GPU a run has the same initial weights and batches, and its losses follow the CPU's in float64."""
    config = small_run(optimizer, precision="float64")
    cpu, gpu = (trained(config.model_copy(update={"device": device}))[1] for device in ("cpu", "cuda"))
    assert gpu.started["environment"]["device"].startswith("cuda:0 (")
    losses = [[row.train_loss for row in rows.rows] for rows in (cpu, gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_the_default_generator_is_left_alone() -> None:
    """Training draws nothing from torch's default generator."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(small_run(OPTIMIZERS["adam"], problem=CLASSIFIER))
    assert torch.equal(torch.rand(3), expected)


def test_waiting_for_a_slice_is_not_training_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the training time stands still while other runs train; the rows are those of a run alone."""
    clock = {"now": 0.0}

    def tick() -> float:
        clock["now"] += 0.001
        return clock["now"]

    def wait(updates: int, seconds: float) -> None:
        asked.append((updates, seconds))
        clock["now"] += 1000

    asked: list[tuple[int, float]] = []
    _, alone = trained(small_run(OPTIMIZERS["hf"]))
    monkeypatch.setattr(time, "perf_counter", tick)
    rows, config = Rows(), small_run(OPTIMIZERS["hf"])
    blocks = planned_blocks(config, registry())
    train(config, rows, lambda: False, blocks=blocks, registry=registry(), folder=NOWHERE, await_slice=wait)
    assert clock["now"] > 7000
    assert rows.rows[-1].seconds < 100
    assert rows.rows[-1].evaluation_seconds is not None
    assert rows.rows[-1].evaluation_seconds < 100
    assert [updates for updates, _ in asked] == list(range(7))
    assert asked[-1][1] == rows.rows[-2].seconds
    assert without_seconds(rows.rows) == without_seconds(alone.rows)


def test_a_run_that_is_cancelled_while_it_waits_makes_no_update() -> None:
    """Where the wait ended because the user has cancelled the run, it ends at once."""
    asked: list[int] = []
    rows, config = Rows(), small_run(OPTIMIZERS["adam"])
    outcome = train(
        config, rows, lambda: bool(asked), blocks=[], registry=registry(), folder=NOWHERE,
        await_slice=lambda updates, _: asked.append(updates),
    )  # fmt: skip
    assert (outcome.status, rows.rows, asked) == (RunStatus.CANCELLED, [], [0])
