"""Monitoring of the backend: Prometheus metrics, and one log line per changing request."""

import logging
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.services import Services
from backend.schemas.runs import RunStatus
from backend.storage.tables import RUNS, WORKERS

_LOG = logging.getLogger(__name__)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_PREFIX = "/api/v1"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
_FREQUENT = {"/heartbeat", "/updates", "/claim"}


class Telemetry:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "blockhf_request_seconds",
            "time to the start of the response",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def observe(self, services: Services) -> None:
        """Add the metrics that are read from the database."""
        self._registry.register(_DatabaseMetrics(services))

    def text(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(self._registry)


class _DatabaseMetrics(Collector):
    """Metrics that are read from the database on request."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Metric]:
        """Return nothing, as the database may be unavailable at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the number of stored rows, runs by status, live workers, and the age of the oldest lease."""
        now, lease_seconds = self._services.clock(), self._services.settings.lease_seconds
        with self._services.database.read() as connection:
            counts = {
                row[0]: row[1] for row in connection.execute(select(RUNS.c.status, func.count()).group_by("status"))
            }
            running = RUNS.c.status == RunStatus.RUNNING
            lease = connection.scalar(select(func.min(RUNS.c.lease_until)).where(running))
            alive = connection.scalar(select(func.count()).where(WORKERS.c.seen_at >= now - lease_seconds))
        yield CounterMetricFamily(
            "blockhf_rows", "updates stored since the backend started", value=self._services.metrics.stored
        )
        runs = GaugeMetricFamily("blockhf_runs", "runs by status", labels=["status"])
        for status in RunStatus:
            runs.add_metric([status.value], counts.get(status.value, 0))
        yield runs
        yield GaugeMetricFamily(
            "blockhf_workers", "workers that sent a heartbeat within the lease time", value=alive or 0
        )
        age = 0.0 if lease is None else max(0.0, now - (lease - lease_seconds))
        yield GaugeMetricFamily(
            "blockhf_lease_age_seconds", "largest time since a running run renewed its lease", value=age
        )


class Observer:
    """ASGI middleware that measures each request, and logs changes and errors."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and measure the time to the start of the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, observed)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        found = getattr(scope.get("route"), "path", None)
        prefix = _PREFIX if scope["path"].startswith(_PREFIX) else ""
        route = "unknown" if found is None else prefix + found.removeprefix(prefix)
        method = scope["method"] if found is not None and scope["method"] in _METHODS else "any"
        self._telemetry.seconds.labels(method, route, status).observe(seconds)
        if scope["method"] not in {"GET", "HEAD"} or status >= 400:
            frequent = any(route.endswith(word) for word in _FREQUENT) and status < 400
            what = {"route": route, "method": method, "status": status, "milliseconds": round(seconds * 1000, 1)}
            ids = {name: str(value)[:40] for name, value in scope.get("path_params", {}).items()}
            _LOG.log(logging.DEBUG if frequent else logging.INFO, "request", extra={"fields": what | ids})
