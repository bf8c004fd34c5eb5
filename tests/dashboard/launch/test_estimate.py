"""How long planned runs will train."""

import pytest

from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import Budget, Evaluation
from backend.schemas.optimizers import Adam, HessianFree
from dashboard.launch.estimate import RATES, START_SECONDS, is_timed, wall_seconds
from tests.dashboard.samples import SPEC, experiment

CPU = WorkerInfo(name="cpu", device="cpu", threads=1)
CUDA = WorkerInfo(name="gpu", device="cuda:0", devices=["cpu", "cuda:0"], threads=1)


def test_similar_runs_say_how_long_an_update_takes() -> None:
    """Seconds per update of runs of the same kind times the budget; an estimate for another network is a guess."""
    spec = SPEC.model_copy(
        update={"optimizers": [Adam(), HessianFree()], "seeds": [0, 1], "budget": Budget(updates=100)}
    )
    timed = [
        run.model_copy(
            update={"summary": run.summary.model_copy(update={"updates": 10, "seconds": seconds}), "parameters": 83}
        )
        for run, seconds in zip(experiment(spec).runs, [1.0, 1.0, 20.0, 20.0], strict=True)
    ]
    one = spec.model_copy(update={"seeds": [2]})
    assert wall_seconds(one, 83, (100, 10), timed, [CPU]) == pytest.approx(2 * START_SECONDS + 10 + 200, rel=0.01)
    assert is_timed(one, timed, [CPU])
    other = one.model_copy(update={"problem": one.problem.model_copy(update={"name": "other"})})
    assert not is_timed(other, timed, [CPU])


def test_the_whole_time_is_known_without_any_run() -> None:
    """HF's update is more work than Adam's; every run has its start, workers share, and a budget in seconds bounds."""
    images, cpu = (5000, 100), [CPU]
    adam, hf = (SPEC.model_copy(update={"optimizers": [one]}) for one in (Adam(), HessianFree()))
    first, second = (wall_seconds(spec, 100_000, images, [], cpu) for spec in (adam, hf))
    assert START_SECONDS < first < second
    assert wall_seconds(hf, 100_000, images, [], [CPU, CPU]) == second / 2
    assert wall_seconds(hf, 100_000, images, [], [CUDA]) < second
    epochs = hf.model_copy(update={"budget": Budget(updates=None, epochs=20)})  # 100 updates of 1,000 of 5,000 images
    assert wall_seconds(epochs, 100_000, images, [], cpu) == second
    short = hf.model_copy(update={"budget": Budget(updates=None, seconds=1.0)})
    assert START_SECONDS + 1 < wall_seconds(short, 100_000, images, [], cpu) < second


def test_other_runs_say_how_fast_the_machine_is() -> None:
    """A machine on which another optimizer was ten times as slow as assumed is ten times as slow."""
    spec = SPEC.model_copy(update={"optimizers": [HessianFree()]})
    other = experiment(SPEC.model_copy(update={"optimizers": [Adam()]})).runs[0]
    work = 6 * 100_000 * 1000
    summary = other.summary.model_copy(update={"updates": 10, "seconds": 10 * work / (RATES["cpu"] / 10)})
    slow = other.model_copy(update={"parameters": 100_000, "summary": summary})
    images = (5000, 100)
    fast = wall_seconds(spec, 100_000, images, [], [CPU]) - START_SECONDS
    assert wall_seconds(spec, 100_000, images, [slow], [CPU]) - START_SECONDS == pytest.approx(10 * fast)


def test_a_run_of_the_same_optimizer_says_more_than_another() -> None:
    """Of two optimizers, each has its own pace also with a network of another size."""
    optimizers = [Adam(), HessianFree()]
    runs = experiment(SPEC.model_copy(update={"optimizers": optimizers})).runs
    paces = {"adam": 0.1, "hf": 7.0}
    earlier = [
        run.model_copy(
            update={
                "parameters": 100_000,
                "summary": run.summary.model_copy(
                    update={"updates": 10, "seconds": 10 * paces[run.config.optimizer.kind]}
                ),
            }
        )
        for run in runs
    ]
    for one in optimizers:
        spec = SPEC.model_copy(
            update={"optimizers": [one], "budget": Budget(updates=10), "evaluation": Evaluation(every=10)}
        )
        found = wall_seconds(spec, 200_000, (5000, 100), earlier, [CPU])
        assert found - START_SECONDS == pytest.approx(10 * 2 * paces[one.kind], rel=0.3)


def test_a_workers_timed_update_says_how_fast_the_network_trains() -> None:
    """On a first visit it replaces the assumed speed; runs of another network do not."""
    spec = SPEC.model_copy(update={"optimizers": [Adam()], "budget": Budget(updates=1000)})
    images, slow = (5000, 100), CPU.model_copy(update={"speeds": {spec.problem.name: RATES["cpu"] / 10}})
    assert not is_timed(spec, [], [CPU])
    assert is_timed(spec, [], [slow])
    assumed, timed = (wall_seconds(spec, 100_000, images, [], [one]) - START_SECONDS for one in (CPU, slow))
    assert timed == pytest.approx(10 * assumed)
    run = experiment(spec).runs[0]
    problem = run.config.problem.model_copy(update={"name": "other"})
    summary = run.summary.model_copy(update={"updates": 10, "seconds": 1000.0})
    config = run.config.model_copy(update={"problem": problem})
    other = run.model_copy(update={"config": config, "summary": summary, "parameters": 83})
    assert wall_seconds(spec, 100_000, images, [other], [slow]) - START_SECONDS == pytest.approx(timed)
