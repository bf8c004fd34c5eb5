"""A run's rows on their way to the backend: in batches, in order, kept while the backend is away."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from backend.client import Client
from backend.errors import BackendUnavailable
from backend.schemas import RunError, RunStatus, Update

log = logging.getLogger(__name__)

T = TypeVar("T")

POST_SECONDS = 0.3
BATCH_ROWS = 100
MOST_ROWS = 1000
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Reporter:
    """Posts one run's rows from a thread of its own, so that training never waits for the network.

    The first row goes out at once, later ones every 0.3 s or 100 rows. A row stays until the backend has acknowledged
    it. Once the lease is lost nothing is sent any more, and every call raises LeaseLost.

    Attributes:
        updates: the last update it was given.
    """

    def __init__(self, client: Client, run_id: str, token: int) -> None:
        self.updates = 0
        self._client = client
        self._run_id = run_id
        self._token = token
        self._rows: list[Update] = []
        self._change = threading.Condition()
        self._closing = False
        self._posted = -POST_SECONDS
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._post_all, name="reporter", daemon=True)

    def start(self, *, environment: dict[str, str], blocks: list[list[str]], parameters: int) -> None:
        """Tell what the run is made of, then begin to post.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        persist(
            lambda: self._client.start(
                self._run_id, self._token, environment=environment, blocks=blocks, parameters=parameters
            )
        )
        self._thread.start()

    def update(self, row: Update) -> None:
        """Take a row; return at once.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        with self._change:
            self._raise_failure()
            self._rows.append(row)
            self.updates = row.update
            self._change.notify_all()

    def flush(self) -> None:
        """Wait until every row is stored.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._raise_failure()

    def finish(self, status: RunStatus, *, ended_by: str = "", error: RunError | None = None) -> None:
        """Store every row, then end the run.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        self.flush()
        persist(lambda: self._client.finish(self._run_id, self._token, status, ended_by=ended_by, error=error))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _post_all(self) -> None:
        try:
            while batch := self._next_batch():
                self._post(batch)
        except Exception as error:  # kept for the training thread
            with self._change:
                self._failure = error

    def _post(self, batch: list[Update]) -> None:
        persist(lambda: self._client.append(self._run_id, self._token, batch))
        with self._change:
            del self._rows[: len(batch)]

    def _next_batch(self) -> list[Update]:
        """Wait for rows, and then until the last post is long enough ago, or there are many, or the run ends."""
        with self._change:
            self._change.wait_for(lambda: bool(self._rows) or self._closing)
            pause = self._posted + POST_SECONDS - time.monotonic()
            self._change.wait_for(lambda: len(self._rows) >= BATCH_ROWS or self._closing, timeout=max(pause, 0))
            self._posted = time.monotonic()
            return self._rows[:MOST_ROWS]


def persist(send: Callable[[], T], stopped: threading.Event | None = None) -> T:
    """Send until the backend has answered, with growing pauses while it is away.

    Args:
        send: the call.
        stopped: ends the trying.

    Returns:
        What the call returns.

    Raises:
        BackendUnavailable: `stopped` was set while the backend was away.
        BlockHFError: the backend's answer, LeaseLost for instance.
    """
    stopped = stopped or threading.Event()
    pause = FIRST_PAUSE
    while True:
        try:
            return send()
        except BackendUnavailable as error:
            log.warning("the backend is away, trying again in %.1f s: %s", pause, error)
            if stopped.wait(pause):
                raise
            pause = min(2 * pause, LONGEST_PAUSE)
