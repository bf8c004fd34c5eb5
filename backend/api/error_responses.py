"""Errors as problem details (RFC 9457): the one place that maps exceptions to responses."""

import json
import logging
from typing import Any
from uuid import uuid4

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from backend.errors import (
    MAX_SHOWN,
    BadRequest,
    BlockHFError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    StorageUnavailable,
    TooLarge,
    Unauthorized,
    from_validation,
)

_LOG = logging.getLogger(__name__)
_KINDS = {kind.status: kind for kind in (BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, TooLarge)}
_PLACES = {"body", "query", "path", "header"}


def install(app: FastAPI) -> None:
    """Answer every expected exception with problem details; the guard answers unexpected ones."""
    app.add_exception_handler(BlockHFError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(OperationalError, _of_storage)


def response(error: BlockHFError) -> Response:
    """Return the response of an error."""
    body = error.body()
    try:
        content = orjson.dumps(body, default=str)
    except TypeError:  # the request contained invalid Unicode, such as half of a surrogate pair
        content = json.dumps(body, default=str).encode()
    return Response(content, error.status, media_type="application/problem+json")


async def _of_ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BlockHFError)
    return response(error)


async def _of_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response(from_validation([_located(row) for row in error.errors()[:MAX_SHOWN]]))


def _located(row: dict[str, Any]) -> dict[str, Any]:
    """Return an error whose location begins within the body, query, path or headers, as the sender knows it."""
    place = tuple(row["loc"])
    if row["type"] == "json_invalid":
        error = str(row["ctx"]["error"]).removesuffix(" at")
        return row | {"loc": ("body",), "input": None, "msg": f"not JSON: {error} at character {place[-1]}"}
    return row | {"loc": place[1:] if len(place) > 1 and place[0] in _PLACES else place}


async def _of_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _KINDS.get(error.status_code)
    answer = response((kind or BlockHFError)(str(error.detail)))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer


async def _of_storage(request: Request, error: Exception) -> Response:
    """Answer a full disk or a locked database with 503: the transaction was rolled back, so a retry is safe."""
    assert isinstance(error, OperationalError)
    _LOG.error("database error in %s %s: %s", request.method, request.url.path, error.orig)
    return response(StorageUnavailable(f"database unavailable, nothing was stored: {error.orig}"))


def unexpected(method: str, path: str, error: Exception) -> Response:
    """Log an unexpected error; answer with its reference in the log, without details."""
    reference = uuid4().hex[:12]
    _LOG.error("unexpected error %s in %s %s", reference, method, path, exc_info=error)
    return response(BlockHFError(f"internal server error (reference {reference}, see the backend log)"))
