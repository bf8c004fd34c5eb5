"""Errors as problem details (RFC 9457): one place maps every exception to an answer."""

import json
import logging
from http import HTTPStatus
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
    """Answer every exception that is foreseen with problem details; the guard answers the others."""
    app.add_exception_handler(BlockHFError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(OperationalError, _of_storage)


def response(error: BlockHFError) -> Response:
    """Write an error as an answer."""
    body = error.body()
    try:
        content = orjson.dumps(body, default=str)
    except TypeError:  # text that is not Unicode, such as half a surrogate pair, came with the request
        content = json.dumps(body, default=str).encode()
    return Response(content, error.status, media_type="application/problem+json")


async def _of_ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BlockHFError)
    return response(error)


async def _of_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response(from_validation([_located(row) for row in error.errors()[:MAX_SHOWN]]))


def _located(row: dict[str, Any]) -> dict[str, Any]:
    """Name a field as the sender knows it: without the part of the request that it came in."""
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
    """Tell a full disk or a locked database from a fault of ours: the transaction was rolled back, so try again."""
    assert isinstance(error, OperationalError)
    _LOG.error("the database refused %s %s: %s", request.method, request.url.path, error.orig)
    return response(StorageUnavailable(f"the database cannot be used now, nothing was stored: {error.orig}"))


def unforeseen(method: str, path: str, error: Exception) -> Response:
    """Log an error that nobody foresaw, and answer with the name that the log has it under, without its details."""
    name = uuid4().hex[:12]
    _LOG.error("error %s in %s %s", name, method, path, exc_info=error)
    return response(BlockHFError(f"{HTTPStatus.INTERNAL_SERVER_ERROR.phrase}; the log has it as {name}"))
