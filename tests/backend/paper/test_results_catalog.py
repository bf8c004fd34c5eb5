"""A reproduction's newest launch is found, whatever it is called by now and however long ago it was."""

import orjson
import pytest
from sqlalchemy import update

from backend.api.services import Services
from backend.paper.results_catalog import own_runs
from backend.paper.specifications import LONG, PaperProblem, Question, Scale, reproduction, study
from backend.schemas.api import Announcement, ExperimentChange
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.storage.tables import EXPERIMENTS
from tests.backend.samples import INFO, Clock
from worker.problems.registry import discover

SWEEP = study(Question.WARM_START)


@pytest.fixture
def able(services: Services) -> Services:
    """Announce the paper's problems."""
    services.workers.register(Announcement(info=INFO, catalog=discover().catalog()))
    return services


def test_every_mark_is_its_own() -> None:
    """No two reproductions share a mark."""
    specs = [*(reproduction(problem, scale) for problem in PaperProblem for scale in Scale), *map(study, Question)]
    assert len({one.reproduces for one in specs}) == len(specs)
    assert all(study(question).reproduces == f"study.{question.value}" for question in LONG)


def test_a_renamed_launch_is_found(able: Services) -> None:
    """The mark identifies a launch, not the name, which may have changed."""
    made = able.experiments.launch(SWEEP)
    able.experiments.change(made.id, ExperimentChange(name="mine"))
    (found,) = own_runs(able.database).values()
    assert (found.experiment, found.name, found.total, found.ended) == (made.id, "mine", 18, 0)
    assert own_runs(able.database).keys() == {"study.warm_start"}


def test_it_is_found_behind_many_others(able: Services) -> None:
    """More than a hundred later comparisons do not hide it, nor does one that took its name."""
    made = able.experiments.launch(SWEEP)
    for number in range(120):
        able.experiments.launch(ExperimentSpec(name=f"other {number}", optimizers=[Adam()]))
    able.experiments.change(able.experiments.list(limit=1)[0].id, ExperimentChange(name=SWEEP.name))
    assert own_runs(able.database)["study.warm_start"].experiment == made.id


def test_the_newest_that_is_not_deleted_counts_its_runs(able: Services, clock: Clock) -> None:
    """The newest launch is returned, or the one before if it is deleted; runs that ended are counted."""
    first = able.experiments.launch(SWEEP)
    clock.now += 1
    second = able.experiments.launch(SWEEP)
    able.queue.cancel(second.runs[0].id)
    found = own_runs(able.database)["study.warm_start"]
    assert (found.experiment, found.ended) == (second.id, 1)
    able.experiments.delete(second.id)
    assert own_runs(able.database)["study.warm_start"].experiment == first.id


def test_a_launch_from_before_the_marks_is_found(able: Services) -> None:
    """It is known by the name it was launched with, also where it was renamed since; others' names are not marks."""
    unmarked = SWEEP.model_copy(update={"reproduces": None})
    made = able.experiments.launch(unmarked)
    with able.database.write() as connection:
        older = orjson.dumps(unmarked.model_dump(mode="json", exclude={"reproduces"})).decode()
        connection.execute(update(EXPERIMENTS).values(spec=older))
    able.experiments.change(made.id, ExperimentChange(name="mine"))
    able.experiments.launch(unmarked)
    mine = ExperimentSpec(name='Study: my own "reproduces":"study.damping"', optimizers=[Adam()])
    able.experiments.launch(mine)
    assert {mark: one.experiment for mark, one in own_runs(able.database).items()} == {"study.warm_start": made.id}
