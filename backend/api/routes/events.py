"""Server-sent events: rows of runs as they come, and the queue as it changes."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints
from starlette.types import Send

from backend.api.examples import EVENTS
from backend.api.guard import still_reads
from backend.api.openapi import errors, example
from backend.api.routes.series import RunIds
from backend.api.services import Store, StoreOfRequest
from backend.errors import FieldError, InvalidInput, NotFound
from backend.feed import START, Feed, Piece, Position, digest
from backend.schemas.base import Id
from backend.schemas.runs import RunStatus

router = APIRouter(tags=["events"])

_STATUSES = tuple(RunStatus)
_RETRY = b"retry: 1000\n\n"
_STILL_HERE = b": still here\n\n"

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="the id of the last event that is known: the stream goes on after it"),
    StringConstraints(pattern=r"^[0-9a-f.-]{1,8000}$"),
]


class EventStream(StreamingResponse):
    """A stream whose source is closed at once when the viewer leaves."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send until the source or the connection ends."""
        source: Any = self.body_iterator
        async with aclosing(source):
            await super().stream_response(send)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=errors(404, 429)
    | example(EVENTS, media_type="text/event-stream", schema={"type": "string"})
    | {204: {"description": "all of it is known: every run has ended, and the last event had its last row"}},
)
async def events(
    request: Request,
    store: StoreOfRequest,
    runs: Annotated[RunIds | None, Query(description="follow these runs")] = None,
    experiment: Annotated[Id | None, Query(description="follow this experiment's runs")] = None,
    queue: Annotated[bool, Query(description="follow the queue")] = False,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow runs, an experiment or the queue (one of them).

    Event `rows` has what /series answers, for one run, with what came after its event before; where `attempt` has
    changed, drop what you hold of the run. It begins with every row that is stored. Event `end` is the last one: every
    run has ended. Event `queue` has the number of runs by status, and those that wait or train, in line. A viewer
    that was away sends Last-Event-ID and misses nothing. Where the token is deleted, the stream ends without `end`.
    """
    if [runs is not None, experiment is not None, queue].count(True) != 1:
        raise InvalidInput([FieldError("runs", runs, "give one of runs, experiment and queue=1")])
    store.feed.check_room()
    if queue:
        return EventStream(_while_let_in(request, _queue_events(store.feed, last_event_id or "")))
    ids = runs.split(",") if runs is not None else await run_in_threadpool(_of_experiment, store, experiment or "")
    positions = _positions(last_event_id, list(dict.fromkeys(ids)))
    found = await run_in_threadpool(store.metrics.heads, list(positions))
    for run_id in positions.keys() - found.keys():
        raise NotFound(f"there is no run {run_id}")
    if all(RunStatus(status).final and Position(*found[i]) == positions[i] for i, (_, _, status) in found.items()):
        return Response(status_code=204)
    return EventStream(_while_let_in(request, _run_events(store.feed, positions)))


def _of_experiment(store: Store, experiment_id: str) -> list[str]:
    return [run.id for run in store.experiments.get(experiment_id).runs]


async def _while_let_in(request: Request, source: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Pass on, before each piece sure that the request's token is good still."""
    async with aclosing(source):
        async for piece in source:
            if not still_reads(request):
                return
            yield piece


async def _run_events(feed: Feed, positions: dict[str, Position]) -> AsyncGenerator[bytes, None]:
    yield _RETRY
    held = dict(positions)
    async with aclosing(feed.runs(positions)) as pieces:
        async for piece in pieces:
            yield _STILL_HERE if piece is None else _rows(piece, held)
    yield b"event: end\nid: %b\ndata: {}\n\n" % _name(held)


def _rows(piece: Piece, held: dict[str, Position]) -> bytes:
    held[piece.run_id] = piece.upto
    return b"event: rows\nid: %b\ndata: %b\n\n" % (_name(held), piece.data)


async def _queue_events(feed: Feed, known: str) -> AsyncGenerator[bytes, None]:
    yield _RETRY
    async with aclosing(feed.queue(known)) as states:
        async for state in states:
            named = b"" if state is None else b"event: queue\nid: %b\ndata: %b\n\n" % (digest(state).encode(), state)
            yield named or _STILL_HERE


def _name(positions: dict[str, Position]) -> bytes:
    """Write how far each run is known, in the order of the runs: attempt.update.status"""
    places = {status.value: number for number, status in enumerate(_STATUSES)}
    return "-".join(f"{a}.{u}.{places[s] if s else len(places)}" for a, u, s in positions.values()).encode()


def _positions(name: str | None, ids: list[str]) -> dict[str, Position]:
    """Read an event's id back; without one, every run is at its start."""
    if name is None:
        return dict.fromkeys(ids, START)
    try:
        parts = [tuple(map(int, part.split("."))) for part in name.split("-")]
        found = [Position(a, u, (*_STATUSES, "")[s]) for a, u, s in parts]
        return dict(zip(ids, found, strict=True))
    except (ValueError, IndexError):
        raise InvalidInput([FieldError("Last-Event-ID", name[:200], "an id of another stream")]) from None
