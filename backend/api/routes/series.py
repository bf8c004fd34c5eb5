"""Curves: the columns of many runs at once, only what is new, thinned to the screen."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import StringConstraints

from backend.api.examples import SERIES
from backend.api.exports import to_series
from backend.api.file_responses import respond
from backend.api.openapi import errors, example
from backend.api.services import ServicesOfRequest
from backend.errors import FieldError, InvalidInput
from backend.schemas.base import MAX_RUNS_PER_EXPERIMENT, MAX_UPDATES
from backend.schemas.measures import SERIES_FIELDS
from backend.schemas.runs import RunStatus

router = APIRouter(tags=["series"])

MAX_BUCKET = 2**20

_COLUMN = {"type": "array", "items": {"type": ["number", "boolean", "string", "null"]}}
_HEAD: dict[str, Any] = {
    "status": {"enum": [status.value for status in RunStatus]},
    "row_generation": {"type": "integer", "minimum": 0},
    "last_update": {"type": "integer", "minimum": 0},
    "update": {"type": "array", "items": {"type": "integer"}},
    "blocks": {"type": "array", "items": {"type": "object", "additionalProperties": _COLUMN}},
}
_RUN = {
    "type": "object",
    "properties": _HEAD,
    "required": ["status", "row_generation", "last_update", "update"],
    "additionalProperties": _COLUMN,
}
_SCHEMA = {
    "type": "object",
    "properties": {"runs": {"type": "object", "additionalProperties": _RUN}},
    "required": ["runs"],
}

RunIds = Annotated[
    str,
    Query(description="runs' ids with commas between", examples=["3x8kq0v5m2a7c9d1"]),
    StringConstraints(pattern=r"^[a-z0-9]{8,32}(,[a-z0-9]{8,32})*$", max_length=33 * MAX_RUNS_PER_EXPERIMENT),
]
After = Annotated[
    str | None,
    Query(description="for each run, the last update that is known already; empty: 0"),
    StringConstraints(pattern=r"^[0-9]{1,7}(,[0-9]{1,7})*$", max_length=8 * MAX_RUNS_PER_EXPERIMENT),
]
Until = Annotated[
    str | None,
    Query(description="for each run, the last update that is wanted; empty: all"),
    StringConstraints(pattern=r"^[0-9]{1,7}(,[0-9]{1,7})*$", max_length=8 * MAX_RUNS_PER_EXPERIMENT),
]
Bucket = Annotated[int, Query(ge=1, le=MAX_BUCKET, description="updates per point, a power of 2")]
Fields = Annotated[
    str | None, Query(max_length=1000, description=f"with commas between; empty: all of {', '.join(SERIES_FIELDS)}")
]
Blocks = Annotated[bool, Query(description="1: also each block's conjugate gradient (only with bucket=1)")]


@router.get("/series", response_class=Response, responses=errors(404, 422) | example(SERIES, schema=_SCHEMA))
def series(
    services: ServicesOfRequest,
    runs: RunIds,
    after: After = None,
    until: Until = None,
    bucket: Bucket = 1,
    fields: Fields = None,
    blocks: Blocks = False,
) -> Response:
    """Each run's columns after its update `after` up to `until`; if `row_generation` has changed, read all again.

    With a bucket above 1, a point stands for the updates j * bucket to (j + 1) * bucket - 1: the last one's `update`,
    `epoch`, `samples`, `seconds`, `cost`, `cpu_seconds`; mean, `_min` and `_max` of the others. Buckets are complete:
    replace your last point by the first new one where they overlap. An answer holds at most 200,000 points, shared by
    the runs: read on where `update` ends below `last_update`. What was not measured, or is not finite, is null.
    """
    ids = runs.split(",")
    with services.metrics.readings(
        ids,
        after=_one_each("after", after, len(ids), 0),
        until=_one_each("until", until, len(ids), MAX_UPDATES),
        bucket=_bucket(bucket, blocks),
        fields=_fields(fields),
        blocks=blocks,
    ) as readings:
        return respond(to_series(readings, with_blocks=blocks), services.file_threads, media_type="application/json")


def _one_each(name: str, text: str | None, count: int, default: int) -> list[int]:
    numbers = [default] * count if text is None else [int(n) for n in text.split(",")]
    if len(numbers) != count:
        raise InvalidInput([FieldError(name, text, f"{len(numbers)} numbers for {count} runs; give one for each")])
    return [min(n, MAX_UPDATES) for n in numbers]


def _bucket(bucket: int, blocks: bool) -> int:
    if bucket & (bucket - 1):
        raise InvalidInput([FieldError("bucket", bucket, "must be a power of 2")])
    if blocks and bucket > 1:
        raise InvalidInput([FieldError("blocks", 1, "needs bucket=1, since blocks are not thinned")])
    return bucket


def _fields(text: str | None) -> list[str]:
    fields = list(SERIES_FIELDS) if not text else list(dict.fromkeys(text.split(",")))
    unknown = [name for name in fields if name not in SERIES_FIELDS]
    if unknown:
        raise InvalidInput([FieldError("fields", unknown[0], f"no such field; there are {', '.join(SERIES_FIELDS)}")])
    return fields
