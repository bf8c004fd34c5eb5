"""How long planned runs will train."""

from backend.schemas.optimizers import Adam, HessianFree
from dashboard.launch.estimate import estimate
from tests.dashboard.samples import SPEC, experiment


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
    assert estimate(SPEC.model_copy(update={"optimizers": [Adam(), HessianFree()]}), 83, paced) == 10 + 200
    short = SPEC.budget.model_copy(update={"seconds": 15.0})
    assert estimate(SPEC.model_copy(update={"optimizers": [HessianFree()], "budget": short}), 83, paced) == 15
    assert estimate(SPEC, 83, paced) is None
    assert estimate(SPEC.model_copy(update={"optimizers": [Adam()]}), 84, paced) is None
