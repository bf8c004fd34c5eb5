"""A run's rows on their way to the backend: in batches, in order, kept while the backend is away."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from backend.client import Client
from backend.client.retry import call_with_retry
from backend.errors import BackendUnavailable, LeaseLost
from backend.schemas.api import Finish
from backend.schemas.runs import Checkpoint, RunError, RunStatus, Update
from worker.delivery.outbox import Entry, Spool

log = logging.getLogger(__name__)

T = TypeVar("T")

POST_SECONDS = 0.3
BATCH_ROWS = 100
MOST_ROWS = 1000
ALIVE_SECONDS = 1.0


class Reporter:
    """Posts one run's rows from a thread of its own, so that training never waits for the network.

    The first row goes out at once, later ones every 0.3 s or 100 rows. A row stays until the backend has acknowledged
    it, also in the spool, so that it is not lost with this process. Once the lease is lost nothing is sent any more,
    and every call raises LeaseLost.

    Args:
        spool: where rows wait on disk.
        named: is told of each checkpoint that the backend has named.
        finished: is called once the backend knows that the run has finished, before the spool goes: where this process
            dies between the two, whoever delivers the spool does the same.

    Attributes:
        updates: the last update it was given.
    """

    def __init__(
        self,
        client: Client,
        run_id: str,
        token: int,
        *,
        spool: Spool | None = None,
        named: Callable[[Checkpoint], None] = lambda _: None,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        self.updates = 0
        self._finished = finished
        self._spool = spool
        self._named = named
        self._client = client
        self._run_id = run_id
        self._token = token
        self._rows: list[Update] = []
        self._checkpoint: Checkpoint | None = None
        self._change = threading.Condition()
        self._closing = False
        self._posted = -POST_SECONDS
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._post_all, name="reporter", daemon=True)

    def start(
        self,
        *,
        environment: dict[str, str],
        blocks: list[list[str]],
        parameters: int,
        resumed_from: int = 0,
        note: str = "",
    ) -> None:
        """Tell what the run is made of and after which update it goes on, then begin to post.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        self.updates = resumed_from
        persist(
            lambda: self._client.start(
                self._run_id, self._token, environment=environment, blocks=blocks, parameters=parameters,
                resumed_from=resumed_from, note=note,
            )
        )  # fmt: skip
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
            self._keep(Entry(row=row))
            self._change.notify_all()

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Have the backend name a checkpoint, together with the rows up to it; return at once."""
        with self._change:
            self._checkpoint = checkpoint
            self._keep(Entry(checkpoint=checkpoint))
            self._change.notify_all()

    def sync(self) -> None:
        """Bring the rows that wait to the disk itself: a checkpoint counts on them.

        Raises:
            OSError: the disk refuses.
        """
        if self._spool is not None:
            self._spool.sync()

    def _away(self) -> None:
        """Bring the rows to the disk while the backend is away; where that fails they wait in memory."""
        try:
            self.sync()
        except OSError as error:
            log.warning("rows that wait for the backend are in memory alone: %s", error)

    def flush(self) -> None:
        """Wait until every row is stored.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        with self._change:
            self._closing = True
            self._change.notify_all()
        while self._thread.is_alive():
            self._thread.join(ALIVE_SECONDS)
            self._touch()
        self._raise_failure()

    def finish(
        self, status: RunStatus, *, ended_by: str = "", error: RunError | None = None, weights: str | None = None
    ) -> None:
        """Store every row, then end the run.

        Raises:
            LeaseLost: the run is not this worker's any more.
        """
        body = Finish.model_validate(
            {"claim_number": self._token, "status": status, "ended_by": ended_by, "error": error, "weights": weights}
        )
        with self._change:
            self._keep(Entry(finish=body))
        self.flush()
        persist(lambda: self._client.finish_as(self._run_id, body), away=self._touch)
        if status is RunStatus.FINISHED:
            self._finished()
        if self._spool is not None:
            self._spool.remove()

    def _touch(self) -> None:
        """Show the worker that the run does not hang: it waits for the backend."""
        if self._spool is not None:
            self._spool.touch()

    def _keep(self, entry: Entry) -> None:
        if self._spool is not None:
            self._spool.write(entry)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            if self._spool is not None and isinstance(self._failure, LeaseLost):
                self._spool.remove()
            raise self._failure

    def _post_all(self) -> None:
        try:
            while self._something():
                self._post()
        except Exception as error:  # kept for the training thread
            with self._change:
                self._failure = error

    def _post(self) -> None:
        with self._change:
            batch, named = self._rows[:MOST_ROWS], self._checkpoint
        if named and batch and batch[-1].update < named.update:
            named = None
        persist(lambda: self._client.append(self._run_id, self._token, batch, checkpoint=named), away=self._away)
        if named:
            self._named(named)
        with self._change:
            del self._rows[: len(batch)]
            if self._checkpoint is named:
                self._checkpoint = None
            if self._spool is not None and not self._rows and not self._checkpoint and not self._closing:
                self._spool.clear()

    def _something(self) -> bool:
        """Wait for rows, and then until the last post is long enough ago, or there are many, or the run ends."""
        with self._change:
            self._change.wait_for(lambda: bool(self._rows or self._checkpoint) or self._closing)
            pause = self._posted + POST_SECONDS - time.monotonic()
            self._change.wait_for(lambda: len(self._rows) >= BATCH_ROWS or self._closing, timeout=max(pause, 0))
            self._posted = time.monotonic()
            return bool(self._rows or self._checkpoint)


def persist(
    send: Callable[[], T], stopped: threading.Event | None = None, *, away: Callable[[], None] = lambda: None
) -> T:
    """Call until the backend is reachable; call `away` after each failure.

    Raises:
        BackendUnavailable: `stopped` was set while the backend was unreachable.
        BlockHFError: the backend's answer, LeaseLost for instance.
    """

    def failed(error: Exception) -> None:
        away()
        log.warning("the backend is unreachable, retrying: %s", error)

    return call_with_retry(send, on=BackendUnavailable, stopped=stopped, failed=failed)
