"""What the pages say of experiments that ship: which is the newest, how it stands, how long it takes."""

from backend.schemas import Adam, Budget, Reproduction, RunStatus, Summary
from dashboard.reproducing import ended, newest, seconds, standing
from tests.dashboard.samples import SPEC, experiment


def test_the_newest_of_a_name_stands_for_it() -> None:
    """Of several experiments of a name the first of the list is taken; others are left out."""
    shipped = Reproduction(kind="paper", subject="x", scale="quick", title="t", spec=SPEC, recorded=False)
    other = experiment(SPEC.model_copy(update={"name": "other"}), id_="e0000009")
    found = newest([other, experiment(id_="e0000002"), experiment(id_="e0000001")], [shipped])
    assert {name: one.id for name, one in found.items()} == {SPEC.name: "e0000002"}


def test_runs_that_ended_are_counted() -> None:
    """Whatever way a run ended, it is counted."""
    one = experiment()
    one.runs[0] = one.runs[0].model_copy(update={"status": RunStatus.FAILED})
    assert (ended(one), standing(1, 3), standing(3, 3)) == (1, "3 runs, 1 ended", "3 runs, all ended")


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
