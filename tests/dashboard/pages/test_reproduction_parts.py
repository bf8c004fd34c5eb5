"""What the pages say of experiments that ship."""

from backend.schemas.runs import RunStatus
from dashboard.pages.reproduction_parts import ended_text, own_results
from tests.dashboard.samples import experiment


def test_runs_that_ended_are_counted() -> None:
    """Whatever way a run ended, it is counted."""
    one = experiment()
    one.runs[0] = one.runs[0].model_copy(update={"status": RunStatus.FAILED})
    assert (own_results(one).ended, own_results(one).total) == (1, len(one.runs))
    assert (ended_text(1, 3), ended_text(3, 3)) == ("3 runs, 1 ended", "3 runs, all ended")
