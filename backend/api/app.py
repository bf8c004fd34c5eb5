"""The FastAPI application: routes, with the guard in front of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import BaseRoute

from backend.api import error_responses, openapi
from backend.api.guard import Guard, for_users, for_workers
from backend.api.monitoring import Observer, Telemetry
from backend.api.routes import (
    access,
    catalog,
    experiments,
    files,
    health,
    imports,
    paper,
    presets,
    runs,
    series,
    sweeps,
    updates,
    workers,
)
from backend.api.routes import monitoring as metrics
from backend.api.services import Services
from backend.security.tokens import Tokens
from backend.settings import Settings

_LOG = logging.getLogger(__name__)
_SWEEP_SECONDS = 5.0


def create_app(settings: Settings, *, clock: Callable[[], float] | None = None) -> FastAPI:
    """Create the application. It opens the database and brings its tables up to date when it starts.

    Args:
        settings: of the backend.
        clock: returns the seconds since 1970; by default the clock of the database.
    """

    telemetry = Telemetry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await run_in_threadpool(Services, settings, clock=clock)
        await run_in_threadpool(services.queue.renew_all_leases)
        app.state.services = services
        telemetry.observe(services)
        sweeper = asyncio.create_task(_sweep(services))
        try:
            yield
        finally:
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            await run_in_threadpool(services.close)

    app = FastAPI(
        title="BlockHF",
        version=version("blockhf"),
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these pages would load scripts from other sites
        redoc_url=None,
    )
    app.state.telemetry = telemetry
    error_responses.install(app)
    app.router.routes.extend(_included_routes())
    openapi.install(app)
    app.add_middleware(
        Guard,
        allowed_hosts=settings.names(settings.host),
        tokens=Tokens(settings),
        max_body_bytes=settings.max_body_bytes,
        max_import_bytes=settings.max_import_bytes,
    )
    app.add_middleware(Observer, telemetry=telemetry)
    return app


@cache
def _included_routes() -> list[BaseRoute]:
    """Include the routers once for all applications: FastAPI builds the models of an included route at its first use.

    Routes are matched in this order, which takes as long as a small query: the most frequent ones come first.
    """
    included = APIRouter()
    included.include_router(series.router, prefix="/api/v1", dependencies=[Depends(for_users)])
    for noun in (updates, workers):
        included.include_router(noun.router, prefix="/api/v1", dependencies=[Depends(for_workers)])
    for noun in (experiments, runs, catalog, access, presets, sweeps, files, imports, paper):
        included.include_router(noun.router, prefix="/api/v1", dependencies=[Depends(for_users)])
    included.include_router(metrics.router, dependencies=[Depends(for_users)])
    included.include_router(health.router)
    included.include_router(health.router, prefix="/api/v1")
    return included.routes


async def _sweep(services: Services) -> None:
    """End runs with an expired lease that no worker should claim, even while no worker claims."""
    while True:
        await asyncio.sleep(min(_SWEEP_SECONDS, services.settings.lease_seconds))
        try:
            await run_in_threadpool(services.queue.sweep)
        except SQLAlchemyError:
            _LOG.exception("sweeping the queue failed; retrying")
