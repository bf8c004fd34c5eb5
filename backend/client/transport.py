"""How requests travel: repeated where that is safe, errors turned back into exceptions, streams taken up again."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from backend.errors import BackendUnavailable, BlockHFError, FieldError, InvalidInput, TooManyRequests
from backend.schemas.base import STEPS_PER_BATCH, Contract
from backend.schemas.runs import Update

_RETRIES = 3
_FIRST_PAUSE = 0.1
_BATCH_BYTES = 400_000
_WAITS = 5
_LONGEST_WAIT = 60.0
_FILE_SECONDS = 600.0
"""How long the backend may take for a file, a long curve or an import [s]."""
_STREAM_SECONDS = 60.0
"""A stream that says nothing for so long is broken: the backend says every 15 s that it is there."""

AWAY_SECONDS = 300.0
"""How long to go on asking for what is waited for while a backend that was there is away [s]."""
_FIRST_SECONDS = 4.0
_LONGEST_PAUSE = 5.0

_STILL_HERE = {"": "the backend is there, and has nothing to tell"}
_END = {"event": "end", "id": "", "data": "{}"}


_NOT_THERE = {502, 503, 504}
"""What a proxy says of a backend that is away."""


class Patience:
    """How long to go on asking while the backend is away: with pauses that grow to 5 s, until it was `seconds` [s]."""

    def __init__(self, seconds: float = AWAY_SECONDS) -> None:
        self._seconds = seconds
        self._pause = _FIRST_PAUSE
        self._since: float | None = None

    def pause(self) -> float | None:
        """Return for how long to leave it alone before the next try [s]; None: it has been away for too long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since >= self._seconds:
            return None
        pause, self._pause = self._pause, min(3 * self._pause, _LONGEST_PAUSE)
        return pause


class Transport:
    """The connections to one backend."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8700",
        *,
        headers: Mapping[str, str] | None = None,
        http: httpx.Client | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._http = http or httpx.Client(base_url=base_url, headers=headers, timeout=timeout, trust_env=False)
        self._met = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get(self, path: str, **query: Any) -> bytes:
        known = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", path, retry=True, params=known).content

    def _get_large(self, path: str, **query: Any) -> bytes:
        """GET an answer that takes the backend long."""
        known = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", path, retry=True, params=known, timeout=self._long_timeout()).content

    def _long_timeout(self) -> httpx.Timeout:
        """Return the timeout of a request that takes the backend long; connecting takes no longer than for others."""
        limits = self._http.timeout.as_dict()
        limits["read"] = limits["read"] and max(limits["read"], _FILE_SECONDS)
        return httpx.Timeout(**limits)

    def _post(
        self, path: str, body: Contract | None, *, retry: bool, headers: dict[str, str] | None = None, **request: Any
    ) -> bytes:
        content = b"" if body is None else body.model_dump_json().encode()
        sent = {"Content-Type": "application/json"} | (headers or {})
        return self._send("POST", path, retry=retry, content=content, headers=sent, **request).content

    def _change(self, method: str, path: str, body: Contract | None = None) -> bytes:
        """PUT, PATCH or DELETE; saying the same again changes nothing more, so a broken connection is tried again."""
        content = {} if body is None else {"content": body.model_dump_json().encode()}
        return self._send(method, path, retry=True, headers={"Content-Type": "application/json"}, **content).content

    def _events(self, over: Event, **query: Any) -> Iterator[tuple[str, Any]]:
        """Yield name and data of each event; where the connection breaks, go on after the last one.

        When another thread says that it is `over`, it ends at the next line, of which one comes every 15 s at least.
        """
        known = {name: value for name, value in query.items() if value is not None}
        last: dict[str, str] = {}
        patience = self._patience()
        while not over.is_set():
            try:
                for fields in self._stream(known, last, over):
                    patience = self._patience()
                    if fields is _STILL_HERE:
                        continue
                    last["Last-Event-ID"] = fields["id"]
                    if fields["event"] == "end":
                        return
                    yield fields["event"], orjson.loads(fields["data"])
                error: BlockHFError = self._away("the stream ended")
            except httpx.TransportError as broken:
                error = self._away(str(broken) or type(broken).__name__)
            except (BackendUnavailable, TooManyRequests) as refused:
                error = refused
            pause = patience.pause()
            if pause is None:
                raise error
            over.wait(max(pause, error.retry_after) if isinstance(error, TooManyRequests) else pause)

    def _patience(self) -> "Patience":
        """Return a fresh patience: minutes with a backend that has answered once, seconds with one that never has."""
        return Patience(AWAY_SECONDS if self._met else _FIRST_SECONDS)

    def _away(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(f"no answer from {self._http.base_url}: {reason}")

    def _stream(self, query: dict[str, Any], headers: dict[str, str], over: Event) -> Iterator[dict[str, str]]:
        timeout = httpx.Timeout(10.0, read=_STREAM_SECONDS)
        with self._http.stream("GET", "/api/v1/events", params=query, headers=headers, timeout=timeout) as response:
            self._met = self._met or response.status_code not in _NOT_THERE
            if response.is_error:
                response.read()
                raise _error(response)
            if response.status_code == 204:
                yield _END
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if over.is_set():
                    return
                name, _, value = line.partition(": ")
                if not name and value:  # a comment
                    yield _STILL_HERE
                elif line:
                    fields[name] = value
                elif "data" in fields:
                    yield fields
                if not line:
                    fields = {}

    def _send(self, method: str, path: str, *, retry: bool, **request: Any) -> httpx.Response:
        def once() -> httpx.Response:
            return _patiently(lambda: self._http.request(method, f"/api/v1{path}", **request))

        try:
            response = _repeat(once) if retry else once()
        except httpx.RequestError as error:
            raise self._away(str(error) or type(error).__name__) from error
        self._met = self._met or response.status_code not in _NOT_THERE
        if response.is_error:
            raise _error(response)
        if response.is_redirect or "text/html" in response.headers.get("content-type", ""):
            raise BlockHFError(f"what answers at {self._http.base_url} is not BlockHF's backend")
        return response


def _repeat(once: Callable[[], httpx.Response]) -> httpx.Response:
    """Call again, with growing pauses, when the connection breaks; not when the answer is slow."""
    for attempt in range(_RETRIES):
        try:
            return once()
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            time.sleep(_FIRST_PAUSE * 3**attempt)
    return once()


def _patiently(once: Callable[[], httpx.Response]) -> httpx.Response:
    """Call again after as long as the backend says, where it refused to look at the request."""
    for _ in range(_WAITS):
        response = once()
        if response.status_code != TooManyRequests.status or "Retry-After" not in response.headers:
            return response
        time.sleep(_wait(response))
    return once()


def _wait(response: httpx.Response) -> float:
    """Read how many seconds to wait; a date, or what else is no number, is a second."""
    told = response.headers.get("Retry-After", "")
    return min(float(told), _LONGEST_WAIT) if told.isascii() and told.isdigit() else 1.0


def _error(response: httpx.Response) -> BlockHFError:
    """Turn problem details back into the exception they were made of."""
    try:
        problem = orjson.loads(response.content)
        code, title = str(problem["type"]).removeprefix("urn:blockhf:"), str(problem["title"])
        errors = [FieldError(**row) for row in problem.get("errors", [])]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        unavailable = response.status_code in _NOT_THERE
        return (BackendUnavailable if unavailable else BlockHFError)(f"the backend answered {response.status_code}")
    if code == InvalidInput.code:
        return InvalidInput(errors)
    if code == TooManyRequests.code:
        return TooManyRequests(title, retry_after=_wait(response))
    kinds = {kind.code: kind for kind in _tree(BlockHFError)}
    return kinds.get(code, BlockHFError)(title)


def _tree(kind: type[BlockHFError]) -> Iterator[type[BlockHFError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def batches(rows: Sequence[Update]) -> Iterator[list[Update]]:
    """Cut rows into batches that the backend's limits on rows and bytes let pass."""
    batch: list[Update] = []
    size = 0
    for row in rows:
        room = len(row.model_dump_json().encode()) + 1
        if batch and (len(batch) == STEPS_PER_BATCH or size + room > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += room
    yield batch
