"""The tree of exceptions; each knows its HTTP status.

BlockHFError                 500
├── BadRequest               400   not understood as HTTP or JSON
├── Unauthorized             401   no token, or one that nobody knows
├── Forbidden                403   a foreign Host or Origin, or the token is not good for this
├── NotFound                 404
├── MethodNotAllowed         405
├── Conflict                 409   the thing is in a state that does not allow this
│   ├── LeaseLost            409   another worker holds the run, or it ended: stop writing at once
│   └── RunChanged           409   the run began again, or was removed, while its rows were read
├── TooLarge                 413   the request's body is over the limit
├── InvalidInput             422   a list of problems: field, value, limit
├── QueueFull                429   too many runs wait
├── TooManyFailedLogins      429   too many unknown tokens from one address
├── NoWorker                 503   no worker has registered yet, so nothing can be checked or queued
├── BackendUnavailable       503   the client could not reach the backend
│   └── StorageUnavailable   503   the database cannot be read or written now: full disk, locked; nothing was stored
└── RunFailed                500   training cannot go on; the text says why and what to change
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pydantic import ValidationError


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with the input."""

    field: str
    value: Any
    limit: str

    def __str__(self) -> str:
        """Name field, value and limit in one sentence."""
        return f"{self.field} is {self.value!r}: {self.limit}"


class BlockHFError(Exception):
    """Any error that BlockHF raises on purpose."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"

    def body(self) -> dict[str, Any]:
        """RFC 9457 problem details."""
        return {"type": f"urn:blockhf:{self.code}", "title": str(self), "status": self.status}


class InvalidInput(BlockHFError):
    """The input breaks the contract."""

    status = 422
    code = "invalid-input"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(str(e) for e in errors))
        self.errors = errors

    def body(self) -> dict[str, Any]:
        """Problem details with the list of fields."""
        return super().body() | {"errors": [asdict(e) for e in self.errors]}


class BadRequest(BlockHFError):
    """The request is not understood."""

    status = 400
    code = "bad-request"


class Unauthorized(BlockHFError):
    """The request carries no token, or one that nobody knows."""

    status = 401
    code = "unauthorized"


class Forbidden(BlockHFError):
    """The request comes by a foreign name or from a foreign page, or its token is not good for this."""

    status = 403
    code = "forbidden"


class NotFound(BlockHFError):
    """There is no such thing."""

    status = 404
    code = "not-found"


class MethodNotAllowed(BlockHFError):
    """The path exists, the method does not."""

    status = 405
    code = "method-not-allowed"


class Conflict(BlockHFError):
    """The thing is in a state that does not allow this."""

    status = 409
    code = "conflict"


class LeaseLost(Conflict):
    """The run is not, or no longer, this worker's."""

    code = "lease-lost"


class QueueFull(BlockHFError):
    """Too many runs wait."""

    status = 429
    code = "queue-full"


class TooManyFailedLogins(BlockHFError):
    """One address sent too many unknown tokens. `retry_after` is how long to wait [s]."""

    status = 429
    code = "too-many-failed-logins"

    def __init__(self, message: str, *, retry_after: float = 60.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RunChanged(Conflict):
    """The run began again, or was removed, while its rows were read; what was read belongs to nothing any more."""

    code = "run-changed"


class TooLarge(BlockHFError):
    """The request's body is over the limit."""

    status = 413
    code = "too-large"


class NoWorker(BlockHFError):
    """No worker has announced what it can train."""

    status = 503
    code = "no-worker"


class BackendUnavailable(BlockHFError):
    """The backend cannot be reached."""

    status = 503
    code = "unavailable"


class StorageUnavailable(BackendUnavailable):
    """The database cannot be read or written now; nothing of the request was stored, so it may be repeated."""

    code = "storage-unavailable"


class RunFailed(BlockHFError):
    """Training cannot start, or cannot go on; the text says why and what to change."""

    code = "run-failed"


def from_validation(error: ValidationError | list[Any], prefix: tuple[str, ...] = ()) -> InvalidInput:
    """Translate pydantic's list of errors into ours, the first 50: dotted field, value, limit."""
    rows = error.errors() if isinstance(error, ValidationError) else error
    return InvalidInput(
        [
            FieldError(
                _path((*prefix, *row["loc"])),
                None if row["type"] == "missing" else _shown(row["input"]),
                row["msg"].removeprefix("Value error, "),
            )
            for row in rows[:MAX_SHOWN]
        ]
    )


MAX_SHOWN = 50


def _path(location: tuple[str | int, ...]) -> str:
    """Join a location with dots, without the tags that pydantic adds for the members of a union."""
    earlier = zip((None, None, *location), (None, *location), strict=False)
    steps = [step for (before, last), step in zip(earlier, location, strict=False) if not _is_tag(before, last, step)]
    return ".".join(_short(str(step)) for step in steps)


def _is_tag(before: str | int | None, last: str | int | None, step: str | int) -> bool:
    """Return whether a step is the kind of an optimizer or a partition: what follows their place in the input."""
    return isinstance(step, str) and (last in {"optimizer", "partition"} or before == "optimizers")


def _shown(value: Any) -> Any:
    """Keep a value short and printable: an error must not echo a megabyte."""
    if value is None or (isinstance(value, bool | int) and abs(value) < 2**53):
        return value
    return _short(value if isinstance(value, str) else repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
