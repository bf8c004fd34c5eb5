"""Curves: columns of several runs in one request, new rows only, thinned for the screen."""

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
    Query(description="comma-separated ids of runs", examples=["3x8kq0v5m2a7c9d1"]),
    StringConstraints(pattern=r"^[a-z0-9]{8,32}(,[a-z0-9]{8,32})*$", max_length=33 * MAX_RUNS_PER_EXPERIMENT),
]
After = Annotated[
    str | None,
    Query(description="for each run, the last update that is already known; empty: 0"),
    StringConstraints(pattern=r"^[0-9]{1,7}(,[0-9]{1,7})*$", max_length=8 * MAX_RUNS_PER_EXPERIMENT),
]
Until = Annotated[
    str | None,
    Query(description="for each run, the last update to return; empty: all"),
    StringConstraints(pattern=r"^[0-9]{1,7}(,[0-9]{1,7})*$", max_length=8 * MAX_RUNS_PER_EXPERIMENT),
]
Bucket = Annotated[int, Query(ge=1, le=MAX_BUCKET, description="updates per point, a power of 2")]
Fields = Annotated[
    str | None, Query(max_length=1000, description=f"comma-separated; empty: all of {', '.join(SERIES_FIELDS)}")
]
Blocks = Annotated[bool, Query(description="1: include the measures of each block (only with bucket=1)")]


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
    """Columns of each run after its update `after` up to `until`; if `row_generation` has changed, read all rows again.

    With a bucket above 1, a point summarizes the updates j * bucket to (j + 1) * bucket - 1: `update`, `epoch`,
    `samples`, `seconds`, `cost` and `cpu_seconds` of the last one; the mean, `_min` and `_max` of the other measures.
    Buckets are complete: if the first new point is of the same bucket as your last one, replace that. A response has at
    most 200,000 points, shared by the runs: continue if `update` ends before `last_update`. Values that were not
    measured or are not finite are null.
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
        raise InvalidInput([FieldError(name, text, f"has {len(numbers)} numbers for {count} runs: give one per run")])
    return [min(n, MAX_UPDATES) for n in numbers]


def _bucket(bucket: int, blocks: bool) -> int:
    if bucket & (bucket - 1):
        raise InvalidInput([FieldError("bucket", bucket, "must be a power of 2")])
    if blocks and bucket > 1:
        raise InvalidInput([FieldError("blocks", 1, "requires bucket=1, because blocks are not thinned")])
    return bucket


def _fields(text: str | None) -> list[str]:
    fields = list(SERIES_FIELDS) if not text else list(dict.fromkeys(text.split(",")))
    unknown = [name for name in fields if name not in SERIES_FIELDS]
    if unknown:
        raise InvalidInput([FieldError("fields", unknown[0], f"must be one of {', '.join(SERIES_FIELDS)}")])
    return fields
