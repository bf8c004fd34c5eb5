"""What the pages say of experiments that ship: how it stands, how long it takes."""

from backend.schemas.experiments import Budget
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus, Summary
from dashboard.pages.reproduction_parts import ended_text, own_results, seconds
from tests.dashboard.samples import SPEC, experiment


def test_runs_that_ended_are_counted() -> None:
    """Whatever way a run ended, it is counted."""
    one = experiment()
    one.runs[0] = one.runs[0].model_copy(update={"status": RunStatus.FAILED})
    assert (own_results(one).ended, own_results(one).total) == (1, len(one.runs))
    assert (ended_text(1, 3), ended_text(3, 3)) == ("3 runs, 1 ended", "3 runs, all ended")


def test_epochs_are_estimated_as_updates() -> None:
    """Two epochs of 5,000 images at 1,000 a batch are ten updates; without a run to judge by nothing is said."""
    spec = SPEC.model_copy(
        update={"optimizers": [Adam(gradient_batch=1000)], "budget": Budget(updates=None, epochs=2), "seeds": [0, 1]}
    )
    earlier = (
        experiment(spec)
        .runs[0]
        .model_copy(update={"parameters": 7, "summary": Summary(updates=100, seconds=50), "status": RunStatus.FINISHED})
    )
    assert seconds(spec, 7, 5000, [earlier]) == 2 * 10 * 0.5
    assert seconds(spec, 8, 5000, [earlier]) is None
