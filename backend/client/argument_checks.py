"""Checks of the client's arguments before a request is sent."""

import re
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from backend.errors import FieldError, InvalidInput, from_validation
from backend.schemas.api import ExportKind
from backend.schemas.base import Contract

_ID = re.compile(r"[a-z0-9]{8,32}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_KEY = re.compile(r"[!-~]([ -~]{0,198}[!-~])?")

M = TypeVar("M", bound=Contract)


def run_id(value: str) -> str:
    """Return the id of a run; raise InvalidInput if it is not an id, as the path would be another one."""
    return _matching(_ID, value, "run_id", "must be an id: 8 to 32 of the characters a-z and 0-9")


def experiment_id(value: str) -> str:
    """Return the id of an experiment; raise InvalidInput if it is not an id."""
    return _matching(_ID, value, "experiment_id", "must be an id: 8 to 32 of the characters a-z and 0-9")


def slug(value: str, field: str = "slug") -> str:
    """Return a slug; raise InvalidInput if it is not a slug."""
    limit = "must be 1 to 64 of the characters a-z, 0-9, _, . and -, the first a letter or digit"
    return _matching(_SLUG, value, field, limit)


def idempotency_header(key: str | None) -> dict[str, str]:
    """Return the header with this key, or a new key for None; raise InvalidInput for an invalid key."""
    limit = "must be 1 to 200 visible ASCII characters, without leading or trailing spaces"
    return {"Idempotency-Key": uuid4().hex if key is None else _matching(_KEY, key, "idempotency_key", limit)}


def export_kind(value: ExportKind | str) -> ExportKind:
    """Return the format of an export; raise InvalidInput if there is no such format."""
    if value not in list(ExportKind):
        raise InvalidInput([FieldError("kind", str(value)[:200], f"must be one of {', '.join(ExportKind)}")])
    return ExportKind(value)


def validated(kind: type[M], **fields: Any) -> M:
    """Return a request body; raise InvalidInput if fields are invalid."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error) from None


def _matching(pattern: re.Pattern[str], value: str, field: str, limit: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInput([FieldError(field, str(value)[:200], limit)])
    return value
