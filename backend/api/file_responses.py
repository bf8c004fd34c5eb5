"""Responses that may be large: sent piece by piece as they are made, so that none is held in memory."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import BinaryIO

from anyio import CapacityLimiter, to_thread
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

CHUNK = 2**18
"""bytes of a piece; a smaller response is sent whole, with its length"""


def respond(
    parts: Iterable[bytes], limiter: CapacityLimiter, *, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Respond with the joined parts.

    The first piece is made here, so an error up to there has its status. A later error breaks the connection: a client
    never takes a part for the whole.

    Args:
        parts: the content; made in threads, at most as many at a time as `limiter` lets run.
        limiter: of those threads; none is held while a slow client reads.
        media_type: of the content.
        headers: further headers.
    """
    chunks = _chunks(parts)
    first = next(chunks)
    if len(first) < CHUNK:
        return Response(first, media_type=media_type, headers=headers)
    return StreamingResponse(_made_in_threads(first, chunks, limiter), media_type=media_type, headers=headers)


class OpenFileResponse(StreamingResponse):
    """The content of an open file, which is closed at the end; its name may be removed while it is sent."""

    def __init__(self, file: BinaryIO, length: int, *, media_type: str, headers: Mapping[str, str]) -> None:
        content = iter(lambda: file.read(CHUNK), b"")
        super().__init__(content, headers={"Content-Length": str(length)} | dict(headers), media_type=media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, and close it."""
        with self._file:
            await super().__call__(scope, receive, send)


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts to pieces of at least CHUNK bytes; the last one may be shorter."""
    held = bytearray()
    for part in parts:
        held += part
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
    yield bytes(held)


async def _made_in_threads(first: bytes, rest: Iterator[bytes], limiter: CapacityLimiter) -> AsyncIterator[bytes]:
    yield first
    while (chunk := await to_thread.run_sync(next, rest, None, limiter=limiter)) is not None:
        yield chunk
