"""The description of the API: errors that any call may answer with, examples, and their media type."""

from typing import Any

from fastapi import FastAPI

from backend.schemas.api import ProblemDetails

DESCRIPTION = (
    "Launch comparisons of optimizers, follow and cancel their runs, read their curves. Users need catalog, "
    "experiments, runs and series; workers need workers and updates. Times are UTC; losses are in the problem's unit; "
    "`seconds` are training time without evaluation; `cost` is in gradients of one gradient batch."
)

_EVERYWHERE = {
    400: "not understood",
    401: "no token, or one that nobody knows",
    403: "foreign Host or Origin, or a token without the scope that this needs",
    413: "the body is too large",
    429: "too many unknown tokens from one address (Retry-After: seconds to wait), or too many queued runs",
    500: "an error of ours; the log has it under the name in the title",
}
_TEXTS = _EVERYWHERE | {
    404: "there is no such thing",
    409: "its state does not allow this, or the lease is lost",
    422: "invalid input: field, value, limit",
    503: "the database cannot be read or written, or no worker has registered yet",
}
_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "needed where the backend has tokens; scopes: read (GET), launch (what changes), worker",
    }
}
_EXAMPLE = {
    "type": "urn:blockhf:invalid-input",
    "title": "optimizers.0.learning_rate is -1: Input should be greater than 0",
    "status": 422,
    "errors": [{"field": "optimizers.0.learning_rate", "value": -1, "limit": "Input should be greater than 0"}],
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the errors of a route, beside those that every route has."""
    return {
        status: {"model": ProblemDetails, "description": _TEXTS[status]}
        for status in sorted({*_EVERYWHERE, 422, *statuses})
    }


def example(
    value: Any,
    *,
    status: int = 200,
    media_type: str = "application/json",
    schema: dict[str, Any] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """Declare what a good answer looks like; its schema only where the route does not say it by its type."""
    shape = {} if schema is None else {"schema": schema}
    return {status: {"content": {media_type: {"example": value} | shape}}}


def body_example(value: Any) -> dict[str, Any]:
    """Declare what a good request looks like."""
    return {"requestBody": {"content": {"application/json": {"example": value}}}}


def install(app: FastAPI) -> None:
    """Write errors under their own media type, with an example; say what a token is."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        schema["components"]["securitySchemes"] = _SCHEMES
        schema["security"] = [{}, {"token": []}]
        for path in schema["paths"].values():
            for operation in path.values():
                for status, answer in operation["responses"].items():
                    content = answer.get("content", {})
                    if status >= "400" and "application/json" in content:
                        problem = content.pop("application/json")
                        content["application/problem+json"] = problem | {"example": _EXAMPLE}
        return schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to change the description
