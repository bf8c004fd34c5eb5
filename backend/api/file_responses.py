"""Large responses, sent in chunks while they are generated, so that none is in memory as a whole."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import BinaryIO

from anyio import CapacityLimiter, to_thread
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

CHUNK = 2**18
"""Size of a chunk [bytes]; a smaller response is sent at once, with its length."""


def respond(
    parts: Iterable[bytes], limiter: CapacityLimiter, *, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with these parts.

    The first chunk is generated here, so an error in it has its status. A later error breaks the connection, so that a
    client does not mistake a part for the whole.

    Args:
        parts: the content, generated in threads.
        limiter: limits those threads; a slow client does not occupy one.
        media_type: of the content.
        headers: further headers.
    """
    chunks = _chunks(parts)
    first = next(chunks)
    if len(first) < CHUNK:
        return Response(first, media_type=media_type, headers=headers)
    return StreamingResponse(_made_in_threads(first, chunks, limiter), media_type=media_type, headers=headers)


class OpenFileResponse(StreamingResponse):
    """The content of an open file, which is closed at the end; the file may be removed while it is sent."""

    def __init__(self, file: BinaryIO, length: int, *, media_type: str, headers: Mapping[str, str]) -> None:
        content = iter(lambda: file.read(CHUNK), b"")
        super().__init__(content, headers={"Content-Length": str(length)} | dict(headers), media_type=media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send and close the file."""
        with self._file:
            await super().__call__(scope, receive, send)


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts to chunks of at least CHUNK bytes; the last one may be shorter."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        if len(buffer) >= CHUNK:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


async def _made_in_threads(first: bytes, rest: Iterator[bytes], limiter: CapacityLimiter) -> AsyncIterator[bytes]:
    yield first
    while (chunk := await to_thread.run_sync(next, rest, None, limiter=limiter)) is not None:
        yield chunk
