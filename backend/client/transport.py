"""Sending requests: retries where they are safe, and errors as exceptions."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import orjson

from backend.client.retry import call_with_retry
from backend.errors import BackendUnavailable, BlockHFError, FieldError, InvalidInput
from backend.schemas.base import STEPS_PER_BATCH, Contract
from backend.schemas.measures import Update
from backend.settings import Settings

T = TypeVar("T")

_ATTEMPTS = 4
_BATCH_BYTES = 400_000
_FILE_SECONDS = 600.0
"""Timeout for a file, a long curve or an import [s]."""
RETRY_SECONDS = 300.0
"""Time limit for retries if the backend has answered before [s]."""
_FIRST_SECONDS = 4.0
_UNREACHABLE = {502, 503, 504}
"""Statuses by which a proxy reports an unreachable backend."""


class Transport:
    """The connections to one backend.

    Args:
        base_url: address of the backend.
        headers: sent with every request.
        http: an httpx client to use instead.
        timeout: of a request [s].
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8700",
        *,
        headers: Mapping[str, str] | None = None,
        http: httpx.Client | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._http = http or httpx.Client(base_url=base_url, headers=headers, timeout=timeout, trust_env=False)
        self._connected = False

    @classmethod
    def of(cls, settings: Settings | None = None) -> Self:
        """Return a client with the backend's address and the token of these settings, by default the environment's."""
        chosen = settings or Settings()
        return cls(chosen.api, headers=chosen.authorization)

    def health(self) -> bool:
        """Return whether the backend answers and its database can be read."""
        try:
            return self._send("GET", "/ready", retry=False).status_code == 200
        except BlockHFError:
            return False

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
        """GET a large response."""
        known = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", path, retry=True, params=known, timeout=self._long_timeout()).content

    def _long_timeout(self) -> httpx.Timeout:
        """Return the timeout of a request for a large response; the time limit for connecting is unchanged."""
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
        """Send PUT, PATCH or DELETE, which are idempotent and so retried when the connection breaks."""
        content = {} if body is None else {"content": body.model_dump_json().encode()}
        return self._send(method, path, retry=True, headers={"Content-Type": "application/json"}, **content).content

    def _retry_unreachable(self, call: Callable[[], T], seconds: float = math.inf) -> T:
        """Retry while the backend is unreachable: for minutes if it has answered before, else for seconds."""
        limit = RETRY_SECONDS if self._connected else _FIRST_SECONDS
        return call_with_retry(call, on=BackendUnavailable, seconds=min(seconds, limit))

    def _unreachable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(f"no answer from {self._http.base_url}: {reason}")

    def _send(self, method: str, path: str, *, retry: bool, **request: Any) -> httpx.Response:
        def send() -> httpx.Response:
            return self._http.request(method, f"/api/v1{path}", **request)

        try:
            # No retry after a timeout, as the backend may still be processing the request.
            broken = (httpx.NetworkError, httpx.RemoteProtocolError)
            response = call_with_retry(send, on=broken, attempts=_ATTEMPTS if retry else 1)
        except httpx.RequestError as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        self._connected = self._connected or response.status_code not in _UNREACHABLE
        if response.is_error:
            raise _error(response)
        if response.is_redirect or "text/html" in response.headers.get("content-type", ""):
            raise BlockHFError(f"{self._http.base_url} is not a BlockHF backend: check BLOCKHF_BACKEND_URL")
        return response


def _error(response: httpx.Response) -> BlockHFError:
    """Return the exception that problem details describe."""
    try:
        problem = orjson.loads(response.content)
        code, title = str(problem["type"]).removeprefix("urn:blockhf:"), str(problem["title"])
        errors = [FieldError(**row) for row in problem.get("errors", [])]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        unavailable = response.status_code in _UNREACHABLE
        return (BackendUnavailable if unavailable else BlockHFError)(f"the backend answered {response.status_code}")
    if code == InvalidInput.code:
        return InvalidInput(errors)
    kinds = {kind.code: kind for kind in _tree(BlockHFError)}
    return kinds.get(code, BlockHFError)(title)


def _tree(kind: type[BlockHFError]) -> Iterator[type[BlockHFError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def batches(rows: Sequence[Update]) -> Iterator[list[Update]]:
    """Split rows into batches within the backend's limits on rows and bytes."""
    batch: list[Update] = []
    size = 0
    for row in rows:
        length = len(row.model_dump_json().encode()) + 1
        if batch and (len(batch) == STEPS_PER_BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    yield batch
