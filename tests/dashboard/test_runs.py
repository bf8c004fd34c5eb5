"""What the pages say of runs in words."""

import pytest

from backend.schemas import Adam, HessianFree, RunStatus
from dashboard import runs
from tests.dashboard.samples import NOON, SPEC, experiment


def test_a_runs_history_is_told() -> None:
    """Queued, started on which device at which attempt, and how it ended."""
    run = (
        experiment()
        .runs[0]
        .model_copy(
            update={
                "started_at": NOON,
                "finished_at": NOON,
                "status": RunStatus.FINISHED,
                "attempts": 2,
                "ended_by": "patience",
                "environment": {"device": "cpu"},
                "parameters": 1234,
            }
        )
    )
    queued, started, ended, size = runs.history(run)
    assert queued.startswith("The sample's settings. Queued ")
    assert "on cpu (attempt 2: a worker was lost and it began anew)" in started
    assert ended.startswith("Finished ")
    assert ended.endswith(": patience, after 0 of 100 updates.")
    assert size == "1,234 trainable parameters."


def test_the_duration_is_judged_by_earlier_runs() -> None:
    """Seconds per update of earlier runs of the same kind times the budget, at most the budget's own seconds."""
    spec = SPEC.model_copy(update={"optimizers": [Adam(), HessianFree()], "seeds": [0, 1]})
    earlier = experiment(spec).runs
    paced = [
        run.model_copy(
            update={"summary": run.summary.model_copy(update={"updates": 10, "seconds": seconds}), "parameters": 83}
        )
        for run, seconds in zip(earlier, [1.0, 20.0, 1.0, 20.0], strict=True)
    ]
    assert runs.estimate(SPEC.model_copy(update={"optimizers": [Adam(), HessianFree()]}), 83, paced) == 10 + 200
    short = SPEC.budget.model_copy(update={"seconds": 15.0})
    assert runs.estimate(SPEC.model_copy(update={"optimizers": [HessianFree()], "budget": short}), 83, paced) == 15
    assert runs.estimate(SPEC, 83, paced) is None
    assert runs.estimate(SPEC.model_copy(update={"optimizers": [Adam()]}), 84, paced) is None


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_written_in_a_fitting_unit(seconds: float, text: str) -> None:
    """Seconds, minutes or hours."""
    assert runs.duration(seconds) == text
