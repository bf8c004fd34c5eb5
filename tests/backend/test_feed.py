"""Tests of the feed: every viewer gets every row once, in order, whenever it comes and however slow it is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import orjson
import pytest
from sqlalchemy import delete

from backend import feed as feed_module
from backend.api.services import Store
from backend.errors import TooManyViewers
from backend.feed import START, Feed, Position, digest
from backend.schemas.api import Announcement, Append, Claim, Finish
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunError, RunStatus
from backend.storage.tables import RUNS
from tests.backend.samples import INFO, Clock, catalog, spec, updates

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"


@pytest.fixture
def claims(store: Store) -> list[Claim]:
    """Claim two runs."""
    worker = store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    store.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=[0, 1]))
    found = [store.queue.claim(worker), store.queue.claim(worker)]
    return [claim for claim in found if claim]


@pytest.fixture(autouse=True)
async def feed(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Feed]:
    """Look often."""
    monkeypatch.setattr(feed_module, "_LOOK_SECONDS", 0.005)
    yield store.feed
    await store.feed.close()


def append(store: Store, claim: Claim, first: int, last: int) -> None:
    """Report updates."""
    store.metrics.append(claim.run.id, Append(token=claim.token, rows=updates(first, last)))


def finish(store: Store, claim: Claim) -> None:
    """End a run."""
    store.queue.finish(claim.run.id, Finish(token=claim.token, status=RunStatus.FINISHED))


async def follow(
    feed: Feed,
    ids: list[str],
    at: dict[str, Position] | None = None,
    *,
    pause: float = 0,
    most: int = 10**9,
    seen: dict[str, list[int]] | None = None,
) -> tuple[dict[str, list[int]], dict[str, Position]]:
    """View runs to their end, or for so many pieces; return the updates seen and where the viewer stands.

    A dictionary that is given as `seen` can be looked into meanwhile; it has a run once its first piece has come.
    """
    held = at or dict.fromkeys(ids, START)
    seen = {} if seen is None else seen
    async with aclosing(feed.runs(held)) as pieces:
        async for piece in pieces:
            assert piece is not None
            answer: dict[str, Any] = orjson.loads(piece.data)["runs"][piece.run_id]
            if answer["attempt"] != held[piece.run_id].attempt:
                seen[piece.run_id] = []
            seen[piece.run_id] = [*seen.get(piece.run_id, []), *answer["update"]]
            held = held | {piece.run_id: piece.upto}
            most -= 1
            if most == 0:
                break
            await asyncio.sleep(pause)
    return seen, held


async def write(store: Store, claims: list[Claim], batches: int, *, rest: Callable[[], Awaitable[None]]) -> None:
    """Report batches of ten updates for each run, then end them."""
    for n in range(batches):
        for claim in claims:
            await asyncio.to_thread(append, store, claim, n * 10 + 1, n * 10 + 10)
        await rest()
    for claim in claims:
        await asyncio.to_thread(finish, store, claim)


async def test_every_viewer_gets_every_row(store: Store, claims: list[Claim]) -> None:
    """Viewers that come early, late, or are slow see each update once and in order, and the end."""
    ids = [claim.run.id for claim in claims]
    viewers: list[asyncio.Task[Any]] = []

    async def rest() -> None:
        if len(viewers) < 12:
            pause = 0.05 * (len(viewers) % 3)
            viewers.append(asyncio.create_task(follow(store.feed, ids, pause=pause)))
        await asyncio.sleep(0.004)

    await write(store, claims, 40, rest=rest)
    viewers.append(asyncio.create_task(follow(store.feed, ids)))
    for seen, at in await asyncio.gather(*viewers):
        assert seen == {key: list(range(1, 401)) for key in ids}
        assert {position.status for position in at.values()} == {"finished"}


async def test_a_viewer_comes_back(store: Store, claims: list[Claim]) -> None:
    """A viewer that leaves after any piece and returns with its position misses nothing and gets nothing twice."""
    ids = [claim.run.id for claim in claims]
    writing = asyncio.create_task(write(store, claims, 30, rest=lambda: asyncio.sleep(0.01)))
    total: dict[str, list[int]] = {run_id: [] for run_id in ids}
    at: dict[str, Position] | None = None
    while at is None or not all(position.status == "finished" for position in at.values()):
        seen, at = await follow(store.feed, ids, at, most=3)
        total = {run_id: total[run_id] + seen.get(run_id, []) for run_id in ids}
    await writing
    assert total == {key: list(range(1, 301)) for key in ids}


async def test_the_tailer_reads_once_for_all(
    store: Store, claims: list[Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Viewers that keep up share what the tailer reads: however many they are, each change is read once at most."""
    ids = [claim.run.id for claim in claims]
    reads: list[str] = []
    series = store.metrics.series

    def counted(runs: list[str], **rest: Any) -> Any:
        reads.append(runs[0])
        return series(runs, **rest)

    monkeypatch.setattr(store.metrics, "series", counted)
    held: list[dict[str, list[int]]] = [{} for _ in range(50)]
    viewers = [asyncio.create_task(follow(store.feed, ids, seen=seen)) for seen in held]

    async def kept_up(last: int) -> None:
        while any(seen.get(run_id) != list(range(1, last + 1)) for seen in held for run_id in ids):
            await asyncio.sleep(0.002)

    await kept_up(0)
    reads.clear()
    for n in range(20):
        for claim in claims:
            await asyncio.to_thread(append, store, claim, n * 10 + 1, n * 10 + 10)
        await kept_up(n * 10 + 10)
    for claim in claims:
        await asyncio.to_thread(finish, store, claim)
    await asyncio.gather(*viewers)
    assert {run_id: reads.count(run_id) for run_id in ids} == dict.fromkeys(ids, 20 + 1)


async def test_a_run_that_begins_again(store: Store, claims: list[Claim], clock: Clock) -> None:
    """Where rows were dropped the viewer is told by the attempt, and gets the new ones from the first."""
    claim = claims[0]
    append(store, claim, 1, 20)
    _, at = await follow(store.feed, [claim.run.id], most=1)
    assert at[claim.run.id].update == 20
    clock.now += 1000
    worker = store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    again = store.queue.claim(worker)
    assert again is not None
    assert again.run.id == claim.run.id
    append(store, again, 1, 5)
    finish(store, again)
    seen, after = await follow(store.feed, [claim.run.id], at)
    assert seen[claim.run.id] == [1, 2, 3, 4, 5]
    assert after[claim.run.id].attempt > at[claim.run.id].attempt


async def test_a_viewer_that_is_ahead_never_goes_back(store: Store, claims: list[Claim]) -> None:
    """Whoever comes from another backend, whose tailer was ahead of this one's, gets no row again."""
    run_id = claims[0].run.id
    append(store, claims[0], 1, 5)
    other = Feed(store.database, store.metrics)
    other._publish(*other._look({run_id: None}))
    append(store, claims[0], 6, 8)
    at = {run_id: Position(*store.metrics.heads([run_id])[run_id])}
    append(store, claims[0], 9, 9)
    seen = []
    for _ in range(2):
        async for piece in other._after(run_id, at[run_id]):
            seen += orjson.loads(piece.data)["runs"][run_id]["update"]
            at[run_id] = piece.upto
        other._publish(*other._look({run_id: other._pieces[run_id][-1].upto}))
    assert seen == [9]
    assert at[run_id].update == 9


async def test_a_viewer_of_an_end_that_was_none_goes_on(store: Store, claims: list[Claim]) -> None:
    """Whoever knew a run as failed, and comes back while it trains again, gets its rows and its true end."""
    claim, ids = claims[0], [claims[0].run.id]
    append(store, claim, 1, 5)
    failed = Finish(token=claim.token, status=RunStatus.FAILED, error=RunError(message="broke"))
    store.queue.finish(claim.run.id, failed)
    _, at = await follow(store.feed, ids)
    assert at[claim.run.id].final
    store.queue.retry(claim.run.id)
    worker = store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    again = store.queue.claim(worker)
    assert again is not None
    assert again.run.id == claim.run.id
    viewer = asyncio.create_task(follow(store.feed, ids, at))
    for n in range(1, 10):
        await asyncio.to_thread(append, store, again, n, n)
        await asyncio.sleep(0.02)
    await asyncio.to_thread(finish, store, again)
    seen, after = await asyncio.wait_for(viewer, 60)
    assert seen[claim.run.id] == list(range(1, 10))
    assert after[claim.run.id].status == RunStatus.FINISHED
    assert await asyncio.wait_for(follow(store.feed, ids, after), 60) == ({}, after)


async def test_the_queue_is_told_when_it_changes(store: Store, claims: list[Claim]) -> None:
    """The first state comes at once, another when a run ends, nothing when nothing happens; a known one is not told."""
    async with aclosing(store.feed.queue()) as states:
        first = await anext(states)
        assert first is not None
        assert orjson.loads(first)["counts"] == {"running": 2}
        finish(store, claims[0])
        second = await anext(states)
        assert second is not None
        assert orjson.loads(second)["counts"] == {"finished": 1, "running": 1}
        assert [run["id"] for run in orjson.loads(second)["runs"]] == [claims[1].run.id]
    async with aclosing(store.feed.queue(digest(second), patience=0.05)) as states:
        assert await anext(states) is None


async def test_the_queue_never_goes_back(store: Store, claims: list[Claim], monkeypatch: pytest.MonkeyPatch) -> None:
    """A look of the tailer's that takes long does not bring back what has changed meanwhile."""
    looks: list[bytes] = []
    read = store.feed._read_queue

    def slow() -> bytes:
        found = read()
        looks.append(found)
        if len(looks) == 2:  # the tailer's first
            time.sleep(0.2)
        return found

    monkeypatch.setattr(store.feed, "_read_queue", slow)
    async with aclosing(store.feed.queue(patience=0.5)) as states:
        assert await anext(states) is not None
        while len(looks) < 2:
            await asyncio.sleep(0.001)
        finish(store, claims[0])
        changed = None
        while changed is None:
            changed = await anext(states)
        assert orjson.loads(changed)["counts"] == {"finished": 1, "running": 1}
        assert await anext(states) is None


async def test_nothing_is_said_too(store: Store, claims: list[Claim]) -> None:
    """A viewer to whom nothing could be told for a while learns that the stream is alive."""
    async with aclosing(store.feed.runs({claims[0].run.id: START}, patience=0.05)) as pieces:
        assert await anext(pieces) is not None
        assert await anext(pieces) is None


async def test_viewers_are_counted(store: Store, claims: list[Claim], monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit, and who leaves makes room."""
    monkeypatch.setattr(feed_module, "MAX_VIEWERS", 1)
    async with aclosing(store.feed.runs({claims[0].run.id: START})) as pieces:
        await anext(pieces)
        with pytest.raises(TooManyViewers):
            store.feed.check_room()
    store.feed.check_room()


async def test_a_run_that_is_removed_has_ended(store: Store, claims: list[Claim]) -> None:
    """Who follows it beside others gets their rows to the end; who follows it alone is at the end."""
    removed, other = (claim.run.id for claim in claims)
    both: dict[str, list[int]] = {}
    viewers = [
        asyncio.create_task(follow(store.feed, [removed, other], seen=both)),
        asyncio.create_task(follow(store.feed, [removed])),
    ]
    while removed not in both or other not in both:
        await asyncio.sleep(0.002)

    def remove() -> None:
        with store.database.write() as connection:
            connection.execute(delete(RUNS).where(RUNS.c.id == removed))

    await asyncio.to_thread(remove)
    await asyncio.to_thread(append, store, claims[1], 1, 10)
    await asyncio.to_thread(finish, store, claims[1])
    (seen, _), (alone, _) = await asyncio.wait_for(asyncio.gather(*viewers), 20)
    assert seen == {removed: [], other: list(range(1, 11))}
    assert alone in ({}, {removed: []})


async def test_the_tailer_survives_what_nobody_foresaw(
    store: Store, claims: list[Claim], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of any kind is logged, and the next look goes on: no viewer waits for ever."""
    heads, failures = store.metrics.heads, iter([ValueError("odd"), KeyError("odder")])

    def failing(runs: list[str]) -> Any:
        for error in failures:
            raise error
        return heads(runs)

    monkeypatch.setattr(store.metrics, "heads", failing)
    viewer = asyncio.create_task(follow(store.feed, [claims[0].run.id]))
    await asyncio.to_thread(append, store, claims[0], 1, 10)
    await asyncio.to_thread(finish, store, claims[0])
    seen, _ = await asyncio.wait_for(viewer, 20)
    assert seen == {claims[0].run.id: list(range(1, 11))}
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError, KeyError]
