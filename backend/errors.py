"""The exceptions of BlockHF, each with its HTTP status.

BlockHFError                 500
├── BadRequest               400   the request is not valid HTTP or JSON
├── Unauthorized             401   no token, or an unknown one
├── Forbidden                403   Host or Origin is not allowed, or the token lacks the scope
├── NotFound                 404
├── MethodNotAllowed         405
├── Conflict                 409   the state of the resource does not allow this
│   ├── LeaseLost            409   another worker has claimed the run, or it has ended: stop writing
│   └── RunChanged           409   the run was rolled back or removed while its rows were read
├── TooLarge                 413   the body of the request is too large
├── InvalidInput             422   invalid fields: name, value, limit
├── QueueFull                429   too many runs are queued
├── TooManyFailedLogins      429   too many unknown tokens from one address
├── NoWorker                 503   no worker has registered yet, so nothing can be validated or queued
├── BackendUnavailable       503   the client could not reach the backend
│   └── StorageUnavailable   503   the database is unavailable (full disk, locked); nothing was stored
└── RunFailed                500   training cannot start or continue
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pydantic import ValidationError


@dataclass(frozen=True)
class FieldError:
    """An invalid field: its path, the value, and what is allowed."""

    field: str
    value: Any
    limit: str

    def __str__(self) -> str:
        """Return field, value and limit as one sentence."""
        return f"{self.field} is {self.value!r}: {self.limit}"


class BlockHFError(Exception):
    """Base of all errors that BlockHF raises deliberately."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"

    def body(self) -> dict[str, Any]:
        """Return problem details as of RFC 9457."""
        return {"type": f"urn:blockhf:{self.code}", "title": str(self), "status": self.status}


class InvalidInput(BlockHFError):
    """The input is invalid."""

    status = 422
    code = "invalid-input"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(str(e) for e in errors))
        self.errors = errors

    def body(self) -> dict[str, Any]:
        """Return problem details with the invalid fields."""
        return super().body() | {"errors": [asdict(e) for e in self.errors]}


class BadRequest(BlockHFError):
    """The request is not valid HTTP or JSON."""

    status = 400
    code = "bad-request"


class Unauthorized(BlockHFError):
    """The request has no token, or an unknown one."""

    status = 401
    code = "unauthorized"


class Forbidden(BlockHFError):
    """The Host or Origin is not allowed, or the token lacks the scope."""

    status = 403
    code = "forbidden"


class NotFound(BlockHFError):
    """The resource does not exist."""

    status = 404
    code = "not-found"


class MethodNotAllowed(BlockHFError):
    """The path does not support this method."""

    status = 405
    code = "method-not-allowed"


class Conflict(BlockHFError):
    """The state of the resource does not allow this."""

    status = 409
    code = "conflict"


class LeaseLost(Conflict):
    """The run has ended, or another worker has claimed it."""

    code = "lease-lost"


class QueueFull(BlockHFError):
    """Too many runs are queued."""

    status = 429
    code = "queue-full"


class TooManyFailedLogins(BlockHFError):
    """An address sent too many unknown tokens; `retry_after` is the time to wait [s]."""

    status = 429
    code = "too-many-failed-logins"

    def __init__(self, message: str, *, retry_after: float = 60.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RunChanged(Conflict):
    """The run was rolled back or removed while its rows were read; discard what was read."""

    code = "run-changed"


class TooLarge(BlockHFError):
    """The body of the request is too large."""

    status = 413
    code = "too-large"


class NoWorker(BlockHFError):
    """No worker has registered yet."""

    status = 503
    code = "no-worker"


class BackendUnavailable(BlockHFError):
    """The backend is unreachable."""

    status = 503
    code = "unavailable"


class StorageUnavailable(BackendUnavailable):
    """The database cannot be read or written now; nothing was stored, so the request can be repeated."""

    code = "storage-unavailable"


class RunFailed(BlockHFError):
    """Training cannot start or continue; the message gives the reason and what to change."""

    code = "run-failed"


def from_validation(error: ValidationError | list[Any], prefix: tuple[str, ...] = ()) -> InvalidInput:
    """Convert the first 50 errors of pydantic.

    Args:
        error: the exception, or its list of errors.
        prefix: path of the validated part within the input.
    """
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
    """Join a location with dots, without the tags that pydantic inserts for unions."""
    earlier = zip((None, None, *location), (None, *location), strict=False)
    steps = [step for (before, last), step in zip(earlier, location, strict=False) if not _is_tag(before, last, step)]
    return ".".join(_short(str(step)) for step in steps)


def _is_tag(before: str | int | None, last: str | int | None, step: str | int) -> bool:
    """Return whether a step is a tag: the kind of an optimizer or a partition."""
    return isinstance(step, str) and (last in {"optimizer", "partition"} or before == "optimizers")


def _shown(value: Any) -> Any:
    """Shorten a value: an error must not repeat a whole megabyte of input."""
    if value is None or (isinstance(value, bool | int) and abs(value) < 2**53):
        return value
    return _short(value if isinstance(value, str) else repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
