"""Metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from backend.api.examples import METRICS
from backend.api.monitoring import Telemetry
from backend.api.openapi import errors, example

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses=errors() | example(METRICS, media_type="text/plain", schema={"type": "string"}),
)
def metrics(request: Request) -> Response:
    """Stored rows, runs by status, live workers, age of the oldest lease, and request times."""
    telemetry: Telemetry = request.app.state.telemetry
    return Response(telemetry.text(), media_type=CONTENT_TYPE_LATEST)
