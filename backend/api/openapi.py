"""The OpenAPI description: common errors, examples, and the media type of errors."""

from typing import Any

from fastapi import FastAPI

from backend.schemas.api import ProblemDetails

DESCRIPTION = (
    "Launch comparisons of optimizers, follow and cancel their runs, read their curves. Users call catalog, "
    "experiments, runs and series; workers call workers and updates. Times are UTC; losses are in the problem's unit; "
    "`seconds` are training time without evaluation; `cost` is in gradients of one gradient batch."
)

_COMMON = {
    400: "not valid HTTP or JSON",
    401: "no token, or an unknown one",
    403: "Host or Origin is not allowed, or the token lacks the scope",
    413: "the body is too large",
    429: "too many unknown tokens from one address (Retry-After: seconds to wait), or too many queued runs",
    500: "unexpected error; the title has its reference in the backend log",
}
_TEXTS = _COMMON | {
    404: "not found",
    409: "the state does not allow this, or another worker has claimed the run",
    422: "invalid fields: name, value, limit",
    503: "the database cannot be read or written, or no worker has registered yet",
}
_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "required if the backend has tokens; scopes: read (GET), launch (changes), worker",
    }
}
_EXAMPLE = {
    "type": "urn:blockhf:invalid-input",
    "title": "optimizers.0.learning_rate is -1: Input should be greater than 0",
    "status": 422,
    "errors": [{"field": "optimizers.0.learning_rate", "value": -1, "limit": "Input should be greater than 0"}],
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the errors of a route in addition to the common ones."""
    return {
        status: {"model": ProblemDetails, "description": _TEXTS[status]}
        for status in sorted({*_COMMON, 422, *statuses})
    }


def example(
    value: Any,
    *,
    status: int = 200,
    media_type: str = "application/json",
    schema: dict[str, Any] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """Declare an example of a response, with its schema if the route's return type does not define it."""
    shape = {} if schema is None else {"schema": schema}
    return {status: {"content": {media_type: {"example": value} | shape}}}


def body_example(value: Any) -> dict[str, Any]:
    """Declare an example of a request body."""
    return {"requestBody": {"content": {"application/json": {"example": value}}}}


def install(app: FastAPI) -> None:
    """Add the media type and an example of errors, and the token scheme, to the description."""
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

    app.openapi = openapi  # type: ignore[method-assign] # documented by FastAPI
