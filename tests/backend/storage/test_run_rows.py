"""Tests of reading runs."""

import pytest

from backend.api.services import Services
from backend.errors import NotFound
from backend.schemas.api import Announcement
from backend.schemas.runs import RunStatus
from tests.backend.samples import INFO, catalog, spec


@pytest.fixture
def full(services: Services) -> Services:
    """Queue two comparisons of two runs and cancel the oldest run."""
    services.workers.register(Announcement(info=INFO, catalog=catalog()))
    first = services.experiments.launch(spec())
    services.experiments.launch(spec())
    services.queue.cancel(first.runs[0].id)
    return services


def test_runs_are_listed_newest_first(full: Services) -> None:
    """A list continues where the previous one ended."""
    everything = full.runs.list()
    assert [run.id for run in everything] == [run.id for made in full.experiments.list() for run in reversed(made.runs)]
    page = full.runs.list(limit=3)
    assert [*page, *full.runs.list(before=page[-1].id)] == everything


def test_runs_are_chosen_by_experiment_and_status(full: Services) -> None:
    """Filters keep what they name."""
    newer, older = full.experiments.list()
    assert {run.experiment_id for run in full.runs.list(experiment=newer.id)} == {newer.id}
    assert full.runs.list(status=RunStatus.CANCELLED) == [older.runs[0]]
    assert full.runs.list(experiment=newer.id, status=RunStatus.CANCELLED) == []


def test_an_unknown_run_is_not_found(full: Services) -> None:
    """The error names the requested ID."""
    with pytest.raises(NotFound, match="no run nowhere"):
        full.runs.get("nowhere")
    with pytest.raises(NotFound, match="no run nowhere"):
        full.runs.list(before="nowhere")


def test_times_have_a_zone(full: Services) -> None:
    """Times are UTC."""
    offset = full.runs.list()[0].created_at.utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0
