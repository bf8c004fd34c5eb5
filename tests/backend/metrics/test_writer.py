"""Tests of the rows: append, read, thin."""

from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backend.api.services import Services
from backend.errors import InvalidInput, NotFound
from backend.metrics import reader, writer
from backend.schemas.api import Announcement, Append, Claim
from backend.schemas.measures import Update
from backend.schemas.runs import Summary
from tests.backend.samples import INFO, Clock, block, catalog, spec, update, updates

pytestmark = pytest.mark.every_database


@pytest.fixture
def held(services: Services) -> Claim:
    """Claim a run of a fresh database."""
    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    services.experiments.launch(spec())
    claim = services.queue.claim(worker)
    assert claim is not None
    return claim


def append(services: Services, held: Claim, rows: list[Update]) -> int:
    """Report rows of the run that is held."""
    return services.metrics.append(held.run.id, Append(claim_number=held.claim_number, rows=rows))


def columns(services: Services, held: Claim, **query: Any) -> dict[str, Any]:
    """Read the run that is held."""
    if "above" in query:
        query["after"] = [query.pop("above")]
    return services.metrics.series([held.run.id], **query)[held.run.id]


def test_what_was_appended_is_read(services: Services, held: Claim) -> None:
    """Every value of every row is returned in columns."""
    rows = [update(1), update(2, test_accuracy=0.5, train_loss=None, diverged=True)]
    assert append(services, held, rows) == 2
    found = columns(services, held)
    head = {name: found.pop(name) for name in ("status", "row_generation", "last_update")}
    assert head == {"status": "running", "row_generation": 1, "last_update": 2}
    assert found == {name: [getattr(row, name) for row in rows] for name in Update.model_fields if name != "blocks"}


def test_blocks_are_read_in_step(services: Services, held: Claim) -> None:
    """Each block has its own columns, as long as the run's; what an update does not have is null."""
    append(services, held, [update(1, blocks=[]), update(2), update(3, blocks=[block(7, residual=None)])])
    found = columns(services, held, blocks=True, fields=["cost"], above=1)["blocks"]
    assert [part["cg_iterations"] for part in found] == [[2, 7], [3, None]]
    assert found[0]["stop_reason"] == ["iterations", "iterations"]
    assert found[0]["residual"] == [0.5, None]


def test_a_replay_changes_nothing(services: Services, held: Claim) -> None:
    """Rows that are stored already are skipped, whatever they say now; new ones beside them are stored."""
    append(services, held, updates(1, 3))
    assert append(services, held, [update(2, cost=999), update(3, cost=999), update(4)]) == 4
    assert append(services, held, updates(1, 2)) == 4
    assert append(services, held, []) == 4
    assert columns(services, held)["cost"] == [2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize(
    ("numbers", "field", "due"),
    [
        ([3], "rows.0.update", 2),
        ([2, 4], "rows.1.update", 3),
        ([2, 2], "rows.1.update", 3),
        ([1, 3], "rows.1.update", 2),
    ],
)
def test_no_update_is_left_out(services: Services, held: Claim, numbers: list[int], field: str, due: int) -> None:
    """A gap, a repetition or a wrong order is refused as a whole, and the next update is named."""
    append(services, held, [update(1)])
    with pytest.raises(InvalidInput) as caught:
        append(services, held, [update(n) for n in numbers])
    assert caught.value.errors[0].field == field
    assert caught.value.errors[0].limit.endswith(f"the next one is {due}")
    assert columns(services, held)["update"] == [1]


def test_the_summary_follows_the_rows(services: Services, held: Claim) -> None:
    """Last and best values are those of all rows, batch by batch; what is null does not count."""
    losses = [5.0, 3.0, None, 4.0, None]
    accuracy = [0.1, 0.5, 0.4, None, None]
    rows = [
        update(i, train_loss=a, test_loss=None, test_accuracy=b)
        for i, (a, b) in enumerate(zip(losses, accuracy, strict=True), 1)
    ]
    append(services, held, rows[:2])
    append(services, held, rows[2:4])
    append(services, held, rows[4:])
    assert services.runs.get(held.run.id).summary == Summary(
        updates=5,
        epoch=0.5,
        seconds=2.5,
        cost=10.0,
        last_train_loss=4.0,
        best_train_loss=3.0,
        last_test_accuracy=0.4,
        best_test_accuracy=0.5,
    )


def test_only_what_is_new_is_read(services: Services, held: Claim) -> None:
    """`after` omits updates that the reader has; `last_update` is the last stored update."""
    append(services, held, updates(1, 5))
    assert columns(services, held, above=3)["update"] == [4, 5]
    nothing = columns(services, held, above=5)
    assert (nothing["update"], nothing["train_loss"], nothing["last_update"]) == ([], [], 5)


def test_only_the_wanted_fields_are_read(services: Services, held: Claim) -> None:
    """Fields that were not requested are not in the response."""
    append(services, held, updates(1, 2))
    found = columns(services, held, fields=["train_loss"])
    assert set(found) == {"status", "row_generation", "last_update", "update", "train_loss"}


def test_many_runs_are_read_at_once(services: Services, held: Claim) -> None:
    """Each run has its own `after`; one that does not exist is an error."""
    other = next(run.id for run in services.runs.list() if run.id != held.run.id)
    append(services, held, updates(1, 3))
    found = services.metrics.series([other, held.run.id], after=[0, 2])
    assert [found[other]["update"], found[held.run.id]["update"]] == [[], [3]]
    with pytest.raises(NotFound, match="no run nowhere"):
        services.metrics.series([held.run.id, "nowhere"])


def test_an_answer_has_a_limit(services: Services, held: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long run comes in several answers, each going on where the one before ended."""
    monkeypatch.setattr(writer, "MAX_POINTS", 4)
    append(services, held, updates(1, 10))
    assert columns(services, held)["update"] == [1, 2, 3, 4]
    assert columns(services, held, above=8)["update"] == [9, 10]
    assert columns(services, held, bucket=2)["update"] == [1, 3, 5, 7]
    assert columns(services, held, points=3)["update"] == [1, 2, 3]


def test_a_part_of_a_run_is_read(services: Services, held: Claim) -> None:
    """`until` is the last update; with buckets, its whole bucket is included."""
    append(services, held, updates(1, 10))
    rows = services.metrics.series([held.run.id], after=[2], until=[5])[held.run.id]
    assert (rows["update"], rows["last_update"]) == ([3, 4, 5], 10)
    points = services.metrics.series([held.run.id], after=[2], until=[5], bucket=4)[held.run.id]
    assert points["update"] == [3, 7]


LOSSES = st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=1, max_size=20)


@example(losses=[None, 5e-324, 0.0], bucket=2, above=0)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(losses=LOSSES, bucket=st.sampled_from([2, 4, 16]), above=st.integers(0, 21))
def test_buckets_summarize_their_updates(
    services: Services, losses: list[float | None], bucket: int, above: int
) -> None:
    """A bucket has its last update's axes and mean, least and largest of each measure; it is always complete."""
    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    services.experiments.launch(spec())
    held = services.queue.claim(worker)
    assert held is not None
    append(services, held, [update(n, train_loss=loss, diverged=loss is None) for n, loss in enumerate(losses, 1)])
    found = columns(
        services, held, bucket=bucket, above=above, fields=["train_loss", "seconds", "cpu_seconds", "diverged"]
    )

    numbers = range(1, len(losses) + 1)
    wanted = sorted({n // bucket for n in numbers if n > above})
    groups = [[n for n in numbers if n // bucket == j] for j in wanted]
    values = [[loss for n in group if (loss := losses[n - 1]) is not None] for group in groups]
    assert found["update"] == [group[-1] for group in groups]
    assert found["seconds"] == [group[-1] * 0.5 for group in groups]
    assert found["cpu_seconds"] == [group[-1] * 0.75 for group in groups]
    assert found["diverged"] == [any(losses[n - 1] is None for n in group) for group in groups]
    assert found["train_loss_min"] == [min(group, default=None) for group in values]
    assert found["train_loss_max"] == [max(group, default=None) for group in values]
    means = [sum(group) / len(group) if group else None for group in values]
    assert found["train_loss"] == [mean if mean is None else pytest.approx(mean) for mean in means]


def test_every_measure_of_a_block_is_kept(services: Services, held: Claim) -> None:
    """Values that a block reports are returned; others are null."""
    told = block(
        3, product_method="samples", note="n", cost=1.5, predicted_cost=2.5, ritz_min=0.1, ritz_max=9.0, step_norm=2.0
    )
    append(services, held, [update(1, blocks=[told, block(4)])])
    found = columns(services, held, blocks=True)["blocks"]
    assert [{name: values[0] for name, values in part.items()} for part in found] == [
        told.model_dump(), block(4).model_dump()
    ]  # fmt: skip
    assert found[1]["product_method"] == found[1]["ritz_max"] == found[1]["step_norm"] == [None]


@pytest.mark.parametrize("page", [1, 2, 3, 5])
def test_pages_are_the_whole(services: Services, held: Claim, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Read in pages of any length a run is what it is read as one: its part, its points, its blocks."""
    append(services, held, [update(n, blocks=[block(n)] * (n % 3)) for n in range(1, 14)])
    parts = list(product([0, 3, 12, 15], [0, 4, 13, 99], [1, 4, 99], [(1, True), (1, False), (2, False), (4, False)]))

    def read() -> list[dict[str, Any]]:
        return [
            columns(services, held, above=above, until=[until], bucket=bucket, points=points, blocks=blocks)
            for above, until, points, (bucket, blocks) in parts
        ]

    wanted = read()
    assert max(len(found["update"]) for found in wanted) == 13
    monkeypatch.setattr(reader, "_PAGE", page)
    assert read() == wanted


def test_a_run_without_rows_has_every_column(services: Services, held: Claim) -> None:
    """A run that has not begun is a header alone."""
    with services.metrics.whole(held.run.id) as reading:
        assert list(reading.names) == [name for name in Update.model_fields if name != "blocks"]
        assert (reading.blocks, list(reading.pages())) == (0, [])


def test_what_is_read_is_one_view(
    services: Services, held: Claim, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Rows of two generations are never mixed: a run that restarts during a read is read as before."""
    monkeypatch.setattr(reader, "_PAGE", 2)
    append(services, held, updates(1, 4))
    with services.metrics.whole(held.run.id) as reading:
        pages = reading.pages()
        assert next(pages)[0] == [1, 2]
        clock.now += 1000
        assert held.run.worker_id is not None
        services.queue.claim(held.run.worker_id)
        assert next(pages)[0] == [3, 4]
    assert columns(services, held)["update"] == []
