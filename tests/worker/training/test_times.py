"""Tests of the times in rows: what each includes and excludes."""

import time

import pytest

from backend.schemas.experiments import Budget, Evaluation
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam
from tests.worker.cases import CLASSIFIER, OPTIMIZERS, small_run, trained


def test_seconds_leave_out_evaluation() -> None:
    """An evaluation that takes a second does not count as training."""
    config = small_run(
        OPTIMIZERS["adam"], problem=CLASSIFIER.model_copy(update={"name": "slow-evaluation"}), budget=Budget(updates=2)
    )
    begun = time.monotonic()
    rows = trained(config)[1].rows
    elapsed = time.monotonic() - begun
    assert 0 < rows[0].seconds < rows[1].seconds < elapsed - sum(row.evaluation_seconds or 0 for row in rows)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_rows_tell_where_the_time_went(optimizer: Optimizer) -> None:
    """Gradient, curvature and evaluation have their time, in no more than the clock shows; Adam solves nothing."""
    _, rows = trained(small_run(optimizer, evaluation=Evaluation(every=3)))
    before = 0.0
    for row in rows.rows:
        gradient, curvature = row.gradient_seconds, row.curvature_seconds
        assert gradient is not None
        assert gradient > 0
        assert (curvature is None) == isinstance(optimizer, Adam)
        assert gradient + (curvature or 0) < row.seconds - before
        before = row.seconds
        assert (row.evaluation_seconds is None) == (row.train_loss is None)


def test_the_evaluation_has_its_own_time() -> None:
    """An evaluation that sleeps for a second shows there, and not in the time of gradient or processor."""
    slow = CLASSIFIER.model_copy(update={"name": "slow-evaluation"})
    begun = time.monotonic()
    (row,) = trained(small_run(OPTIMIZERS["bhf"], problem=slow, budget=Budget(updates=1)))[1].rows
    elapsed = time.monotonic() - begun
    assert row.evaluation_seconds is not None
    assert row.evaluation_seconds > 1
    assert (row.gradient_seconds or 0) + (row.curvature_seconds or 0) <= row.seconds < elapsed - row.evaluation_seconds


def test_processor_time_grows_with_work_and_not_with_waiting() -> None:
    """A gradient that sleeps takes time, but no processor time."""
    problem = CLASSIFIER.model_copy(update={"name": "slow-gradient"})
    rows = trained(small_run(OPTIMIZERS["adam"], problem=problem, budget=Budget(updates=2)))[1].rows
    first, second = (row.cpu_seconds or 0 for row in rows)
    assert 0 < first < second < rows[1].seconds - 0.9
