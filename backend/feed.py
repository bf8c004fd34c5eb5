"""What is new, for many viewers at once: one tailer reads the database, and every viewer takes from what it found.

A viewer holds no queue: it has a position per run, takes the piece that begins there, and reads the database itself
where that piece is gone already. So a slow viewer costs no memory, and no viewer misses a row.
"""

import asyncio
import logging
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection, func, select

from backend.errors import NotFound, TooManyViewers
from backend.metrics.reader import Columns
from backend.metrics.writer import Metrics
from backend.schemas.runs import RunStatus
from backend.storage.database import Database
from backend.storage.tables import EXPERIMENTS, RUNS

_LOG = logging.getLogger(__name__)

MAX_VIEWERS = 1000
_PIECES = 16
_PIECE_ROWS = 2_000
_LOOK_SECONDS = 0.2
_QUEUE = ""
"""The topic of the queue, among the runs' ids."""


class Position(NamedTuple):
    """How far a viewer has read a run."""

    attempt: int
    update: int
    status: str

    @property
    def final(self) -> bool:
        """Tell whether the run has ended there."""
        return bool(self.status) and RunStatus(self.status).final


@dataclass(frozen=True)
class Piece:
    """A part of a run's rows, written once for all viewers."""

    run_id: str
    after: Position
    upto: Position
    data: bytes


START = Position(0, 0, "")


class Feed:
    """The runs and the queue as streams."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._watched: Counter[str] = Counter()
        self._pieces: dict[str, deque[Piece]] = {}
        self._gone: set[str] = set()
        self._queue: bytes = b""
        self._told: bytes = b""
        self._reading = asyncio.Lock()
        self._news = asyncio.Event()
        self._viewers = 0
        self._tailer: asyncio.Task[None] | None = None

    async def runs(
        self, positions: Mapping[str, Position], *, patience: float = 15
    ) -> AsyncGenerator[Piece | None, None]:
        """Yield what is new of each run until all have ended; None where nothing was for `patience` seconds.

        A run that was removed has ended.
        """
        held = dict(positions)
        with self._watching(list(held)):
            while True:
                news = self._news
                for run_id, position in held.items():
                    async for piece in self._after(run_id, position):
                        held[run_id] = piece.upto
                        yield piece
                if all(run_id in self._gone or self._ended(run_id, position) for run_id, position in held.items()):
                    return
                if not await _within(news, patience):
                    yield None

    async def queue(self, known: str = "", *, patience: float = 15) -> AsyncGenerator[bytes | None, None]:
        """Yield the queue whenever it has changed; None where it has not for `patience` seconds. It has no end."""
        with self._watching([_QUEUE]):
            seen = known
            while True:
                news = self._news
                if not self._queue:
                    await self._look_at_queue()
                state = self._queue
                if digest(state) != seen:
                    seen = digest(state)
                    yield state
                elif not await _within(news, patience):
                    yield None

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return self._viewers

    def check_room(self) -> None:
        """Raise TooManyViewers where one more cannot be served."""
        if self._viewers >= MAX_VIEWERS:
            raise TooManyViewers(f"{MAX_VIEWERS} viewers follow already: read /series, or try again later")

    @contextmanager
    def _watching(self, topics: Sequence[str]) -> Iterator[None]:
        """Have the tailer look at some topics; it works while somebody watches."""
        self._viewers += 1
        self._watched.update(topics)
        if self._tailer is None or self._tailer.done():
            self._tailer = asyncio.create_task(self._tail())
        try:
            yield
        finally:
            self._viewers -= 1
            self._watched.subtract(topics)
            for topic in topics:
                if self._watched[topic] <= 0:
                    del self._watched[topic]
                    self._pieces.pop(topic, None)
                    self._queue = b"" if topic == _QUEUE else self._queue

    async def close(self) -> None:
        """End the tailer."""
        if self._tailer is not None:
            self._tailer.cancel()
            with suppress(asyncio.CancelledError):
                await self._tailer

    async def _after(self, run_id: str, position: Position) -> AsyncIterator[Piece]:
        """Yield the pieces that follow a position, as far as the tailer is: its own where it has them, else read."""
        while (pieces := self._pieces.get(run_id)) and (tail := pieces[-1].upto) != position:
            piece = next((piece for piece in pieces if piece.data and piece.after == position), None)
            if piece is None:
                try:
                    piece = await run_in_threadpool(self._read, run_id, position, tail)
                except NotFound:  # removed just now: the next look says so
                    return
            if piece.upto == position:
                return
            position = piece.upto
            yield piece

    def _ended(self, run_id: str, position: Position) -> bool:
        """Tell whether nothing follows a position: the tailer must say so too, for a run may train again since."""
        pieces = self._pieces.get(run_id)
        return position.final and pieces is not None and pieces[-1].upto == position

    async def _tail(self) -> None:
        """Look for what is new while anybody watches."""
        while self._viewers:
            tails = {topic: self._pieces.get(topic) for topic in self._watched if topic != _QUEUE}
            known = {run_id: pieces[-1].upto if pieces else None for run_id, pieces in tails.items()}
            try:
                found, gone = await run_in_threadpool(self._look, known)
                if self._watched[_QUEUE]:
                    await self._look_at_queue()
                self._publish(found, gone)
            except Exception:  # all viewers depend on this task
                _LOG.exception("the database could not be read for the viewers; it is tried again")
            await asyncio.sleep(_LOOK_SECONDS)
        self._pieces.clear()
        self._gone.clear()
        self._queue = b""

    async def _look_at_queue(self) -> None:
        """Read the queue, one reader after another: what is kept never goes back in time."""
        async with self._reading:
            self._queue = await run_in_threadpool(self._read_queue)

    def _publish(self, found: Mapping[str, Piece], gone: set[str]) -> None:
        """Keep what was found, and wake the viewers where it is new."""
        lost, self._gone = gone - self._gone, gone
        for run_id, piece in found.items():
            self._pieces.setdefault(run_id, deque(maxlen=_PIECES)).append(piece)
        if found or lost or self._queue != self._told:
            self._told = self._queue
            news, self._news = self._news, asyncio.Event()
            news.set()

    def _look(self, known: Mapping[str, Position | None]) -> tuple[dict[str, Piece], set[str]]:
        """Read each run on from where its last piece ends; of a run that is watched anew only how far it is.

        Return the pieces, and the runs that are no longer there.
        """
        heads = {run_id: Position(*head) for run_id, head in self._metrics.heads(list(known)).items()}
        new = {run_id: Piece(run_id, head, head, b"") for run_id, head in heads.items() if known[run_id] is None}
        moved = {run_id: at for run_id, at in known.items() if at is not None and heads.get(run_id, at) != at}
        return new | {run_id: self._read(run_id, at) for run_id, at in moved.items()}, known.keys() - heads.keys()

    def _read(self, run_id: str, position: Position, until: Position | None = None) -> Piece:
        """Read what follows a position, at most until another: from the beginning where the run has begun again."""
        if until is not None and until.attempt == position.attempt and until.update < position.update:
            until = None  # the viewer was another backend's, whose tailer was ahead of this one
        answer = self._metrics.series([run_id], after=[position.update], points=_PIECE_ROWS)[run_id]
        if answer["attempt"] != position.attempt and position.update:
            answer = self._metrics.series([run_id], points=_PIECE_ROWS)[run_id]
        if until is not None and until.attempt == answer["attempt"]:
            answer = _cut(answer, until)
        last = answer["update"][-1] if answer["update"] else min(position.update, answer["last_update"])
        status = answer["status"]
        if last != answer["last_update"]:  # a status is news after the rows that led to it
            status = position.status or RunStatus.RUNNING.value
        upto = Position(answer["attempt"], last, status)
        return Piece(run_id, position, upto, orjson.dumps({"runs": {run_id: answer | {"status": status}}}))

    def _read_queue(self) -> bytes:
        with self._database.read() as connection:
            return orjson.dumps(_queue_state(connection))


def _cut(answer: Columns, until: Position) -> Columns:
    """Leave away what comes after a position."""
    count = bisect_right(answer["update"], until.update)
    cut = {name: column[:count] if isinstance(column, list) else column for name, column in answer.items()}
    return cut | {"status": until.status, "last_update": until.update}


def digest(state: bytes) -> str:
    """Name a state of the queue."""
    return sha256(state).hexdigest()[:16]


async def _within(news: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(news.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _queue_state(connection: Connection) -> dict[str, Any]:
    counts = select(RUNS.c.status, func.count()).group_by(RUNS.c.status).order_by(RUNS.c.status)
    waiting = [status for status in RunStatus if not status.final]
    fields = ("id", "experiment_id", "status", "priority", "worker_id")
    columns = (RUNS.c.id, EXPERIMENTS.c.id, RUNS.c.status, RUNS.c.priority, RUNS.c.worker)
    query = (
        select(*columns)
        .join(EXPERIMENTS, EXPERIMENTS.c.number == RUNS.c.experiment)
        .where(RUNS.c.status.in_(waiting))
        .order_by(RUNS.c.priority.desc(), RUNS.c.number)
        .limit(1000)
    )
    return {
        "counts": {status: int(count) for status, count in connection.execute(counts)},
        "runs": [dict(zip(fields, row, strict=True)) for row in connection.execute(query)],
    }
