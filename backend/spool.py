"""Answers that may be large: they wait in a file, so that neither their rows nor their text lie in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from io import SEEK_END
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, BinaryIO, NamedTuple

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from backend.errors import StorageUnavailable

_IN_MEMORY = 2**20
_CHUNK = 2**18


class ColumnPages(NamedTuple):
    """Columns as JSON that follow each other in the answer, while their values come page by page.

    openings: what is written before each column's list. pages: for some rows after another, each column's values.
    """

    openings: Sequence[bytes]
    pages: Iterable[Sequence[Sequence[Any]]]


Part = bytes | ColumnPages

_Place = tuple[int, int]
"""Where a text begins in the file, and how long it is."""


class Spool:
    """The parts of an answer, one after the other.

    Every part is taken once, and written as it comes, so no more than a page of rows is held. A column's pieces then
    lie apart in the file; the order of the answer is kept beside it. Raises StorageUnavailable where there is no room.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 # it is closed when the answer has been sent
        self._order: list[_Place] = []
        self._end = 0
        try:
            for part in parts:
                if isinstance(part, bytes):
                    self._put([self._keep(part)])
                else:
                    self._take(part)
            self._file.flush()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise StorageUnavailable(f"the answer needs room in {gettempdir()}: {error}") from error
            raise

    def __len__(self) -> int:
        """Count the answer's bytes."""
        return self._end

    def __iter__(self) -> Iterator[bytes]:
        """Yield the answer in chunks."""
        held = bytearray()
        for start, length in self._order:
            self._file.seek(start)
            while length:
                piece = self._file.read(min(length, _CHUNK))
                length -= len(piece)
                held += piece
                if len(held) >= _CHUNK:
                    yield bytes(held)
                    held.clear()
        yield bytes(held)

    def close(self) -> None:
        """Give the file's room back."""
        with suppress(OSError):  # what it still held found no room
            self._file.close()

    def _take(self, columns: ColumnPages) -> None:
        """Keep what comes page by page, and put it in order column by column."""
        pieces: list[list[_Place]] = [[] for _ in columns.openings]
        before = [(b"]" if n else b"") + opening + b"[" for n, opening in enumerate(columns.openings)]
        for page in filter(any, columns.pages):
            for of_column, text, values in zip(pieces, before, page, strict=True):
                of_column.append(self._keep(text + orjson.dumps(values)[1:-1]))
            before = [b","] * len(pieces)
        for n, of_column in enumerate(pieces):
            self._put(of_column or [self._keep(before[n])])
        if pieces:
            self._put([self._keep(b"]")])

    def _put(self, places: Iterable[_Place]) -> None:
        """Append to the order; what lies together is read at once."""
        for start, length in places:
            if self._order and sum(self._order[-1]) == start:
                start, before = self._order.pop()
                length += before
            self._order.append((start, length))

    def _keep(self, text: bytes) -> _Place:
        """Write at the file's end; return where."""
        place = self._end, len(text)
        self._file.write(text)
        self._end += len(text)
        return place


class OpenFile:
    """A file as an answer; it may lose its name while it is sent."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __len__(self) -> int:
        """Count the answer's bytes."""
        return self._file.seek(0, SEEK_END)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in chunks."""
        self._file.seek(0)
        return iter(lambda: self._file.read(_CHUNK), b"")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def answer(content: Spool | OpenFile, *, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a content, and close it then."""
    if len(content) > _CHUNK:
        return _Piecewise(content, media_type, headers or {})
    with closing(content):
        return Response(b"".join(content), media_type=media_type, headers=headers)


class _Piecewise(StreamingResponse):
    """An answer sent from a file, which is closed when the answer, or the connection, has ended."""

    def __init__(self, content: Spool | OpenFile, media_type: str, headers: Mapping[str, str]) -> None:
        named = {"Content-Length": str(len(content))}
        super().__init__(content, headers=named | dict(headers), media_type=media_type)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with closing(self._content):
            await super().__call__(scope, receive, send)
