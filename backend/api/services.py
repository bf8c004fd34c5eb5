"""The services behind the routes, created once per application."""

from collections.abc import Callable
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request, Response

from backend.experiments.experiments import Experiments
from backend.experiments.imports import Imports
from backend.experiments.presets import Presets
from backend.metrics.writer import Metrics
from backend.queue.queue import Queue
from backend.queue.workers import Workers
from backend.settings import Settings
from backend.storage.database import Database
from backend.storage.run_rows import Runs

FILES_AT_ONCE = 2
"""Maximum number of files generated at a time; more would need more memory and be no faster."""


class Services:
    """The services over one database."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] | None = None) -> None:
        self.settings = settings
        self.database = Database(settings.url)
        clock = self.clock = clock or self.database.now
        self.workers = Workers(self.database, settings, clock=clock)
        self.experiments = Experiments(self.database, settings, self.workers, clock=clock)
        self.presets = Presets(self.database, clock=clock)
        self.runs = Runs(self.database)
        self.queue = Queue(self.database, settings, clock=clock)
        self.metrics = Metrics(self.database, settings, clock=clock)
        self.imports = Imports(self.database, clock=clock)
        self.file_threads = CapacityLimiter(FILES_AT_ONCE)

    async def in_thread(self, make: Callable[..., Response], *given: object) -> Response:
        """Call `make(self, *given)` in a thread reserved for files, so that files do not block other requests."""
        return await to_thread.run_sync(make, self, *given, limiter=self.file_threads)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


async def _of_request(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesOfRequest = Annotated[Services, Depends(_of_request)]
