"""Reports a run's rows to the backend: in batches, in order, stored while the backend is unreachable."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from backend.client import WorkerClient
from backend.client.retry import call_with_retry
from backend.errors import BackendUnavailable, LeaseLost
from backend.schemas.api import Finish
from backend.schemas.measures import Update
from backend.schemas.runs import Checkpoint, RunError, RunStatus
from worker.delivery.outbox import Entry, Outbox

log = logging.getLogger(__name__)

T = TypeVar("T")

POST_SECONDS = 0.3
BATCH_ROWS = 100
MAX_ROWS = 1000
ALIVE_SECONDS = 1.0


class Reporter:
    """Posts one run's rows from a separate thread, so that training never waits for the network.

    The first row is posted at once, later ones every 0.3 s or 100 rows. Each row stays in memory and in the outbox
    until the backend has acknowledged it, so it is not lost if this process dies. After the lease is lost nothing more
    is sent, and every call raises LeaseLost.

    Args:
        client: the backend.
        run_id: the run.
        claim_number: number of the claim, sent with every request.
        outbox: stores rows on disk; None: rows are in memory only.
        on_recorded: receives each checkpoint that the backend has recorded.
        on_finished: called once the backend knows that the run has finished with weights, before the outbox is
            removed. If this process dies in between, the worker that delivers the outbox does the same.

    Attributes:
        updates: number of the last update reported.
    """

    def __init__(
        self,
        client: WorkerClient,
        run_id: str,
        claim_number: int,
        *,
        outbox: Outbox | None = None,
        on_recorded: Callable[[Checkpoint], None] = lambda _: None,
        on_finished: Callable[[], None] = lambda: None,
    ) -> None:
        self.updates = 0
        self._on_finished = on_finished
        self._outbox = outbox
        self._on_recorded = on_recorded
        self._client = client
        self._run_id = run_id
        self._claim_number = claim_number
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
        """Report environment, blocks and the update after which the run continues; then start posting rows.

        Raises:
            LeaseLost: another worker has the run, or it has ended.
        """
        self.updates = resumed_from
        retry_until_reachable(
            lambda: self._client.start(
                self._run_id, self._claim_number, environment=environment, blocks=blocks, parameters=parameters,
                resumed_from=resumed_from, note=note,
            )
        )  # fmt: skip
        self._thread.start()

    def update(self, row: Update) -> None:
        """Report a row. Returns at once.

        Raises:
            LeaseLost: another worker has the run, or it has ended.
        """
        with self._change:
            self._raise_failure()
            self._rows.append(row)
            self.updates = row.update
            self._store(Entry(row=row))
            self._change.notify_all()

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Report a checkpoint, which the backend records together with the rows up to it. Returns at once."""
        with self._change:
            self._checkpoint = checkpoint
            self._store(Entry(checkpoint=checkpoint))
            self._change.notify_all()

    def sync(self) -> None:
        """Write the pending rows to the disk itself, before a checkpoint that needs them.

        Raises:
            OSError: the disk reports an error.
        """
        if self._outbox is not None:
            self._outbox.sync()

    def _on_failure(self) -> None:
        """Write the pending rows to the disk while the backend is unreachable, if the disk allows it."""
        try:
            self.sync()
        except OSError as error:
            log.warning("cannot write rows to disk, they are in memory only until the backend has them: %s", error)

    def flush(self) -> None:
        """Wait until the backend has every row.

        Raises:
            LeaseLost: another worker has the run, or it has ended.
        """
        with self._change:
            self._closing = True
            self._change.notify_all()
        while self._thread.is_alive():
            self._thread.join(ALIVE_SECONDS)
            self._touch()
        self._raise_failure()

    def finish(
        self,
        status: RunStatus,
        *,
        ended_by: str = "",
        error: RunError | None = None,
        weights: str | None = None,
        note: str = "",
    ) -> None:
        """Wait until the backend has every row, then finish, pause or fail the run, or hand it back.

        Raises:
            LeaseLost: another worker has the run, or it has ended.
        """
        body = Finish.model_validate(
            {
                "claim_number": self._claim_number,
                "status": status,
                "ended_by": ended_by,
                "error": error,
                "weights": weights,
                "note": note,
            }
        )
        with self._change:
            self._store(Entry(finish=body))
        self.flush()
        retry_until_reachable(lambda: self._client.finish_as(self._run_id, body), on_failure=self._touch)
        if status is RunStatus.FINISHED and weights:
            self._on_finished()
        if self._outbox is not None:
            self._outbox.remove()

    def _touch(self) -> None:
        """Show the worker that the run waits for the backend and has not stalled."""
        if self._outbox is not None:
            self._outbox.touch()

    def _store(self, entry: Entry) -> None:
        if self._outbox is not None:
            self._outbox.append(entry)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            if self._outbox is not None and isinstance(self._failure, LeaseLost):
                self._outbox.remove()
            raise self._failure

    def _post_all(self) -> None:
        try:
            while self._wait_for_work():
                self._post()
        except Exception as error:  # raised in the training thread by its next call
            with self._change:
                self._failure = error

    def _post(self) -> None:
        with self._change:
            batch, checkpoint = self._rows[:MAX_ROWS], self._checkpoint
        if checkpoint and batch and batch[-1].update < checkpoint.update:
            checkpoint = None  # its rows come first
        retry_until_reachable(
            lambda: self._client.append(self._run_id, self._claim_number, batch, checkpoint=checkpoint),
            on_failure=self._on_failure,
        )
        if checkpoint:
            self._on_recorded(checkpoint)
        # The training thread may have added rows and a newer checkpoint meanwhile: remove only what was posted.
        with self._change:
            del self._rows[: len(batch)]
            if self._checkpoint is checkpoint:
                self._checkpoint = None
            if self._outbox is not None and not self._rows and not self._checkpoint and not self._closing:
                self._outbox.truncate()

    def _wait_for_work(self) -> bool:
        """Wait until something is to be posted; return False once everything is posted and the run ends."""
        with self._change:
            self._change.wait_for(lambda: bool(self._rows or self._checkpoint) or self._closing)
            # Post at once after a long pause; otherwise collect rows until the interval has passed or a batch is full.
            pause = self._posted + POST_SECONDS - time.monotonic()
            self._change.wait_for(lambda: len(self._rows) >= BATCH_ROWS or self._closing, timeout=max(pause, 0))
            self._posted = time.monotonic()
            return bool(self._rows or self._checkpoint)


def retry_until_reachable(
    send: Callable[[], T], stopped: threading.Event | None = None, *, on_failure: Callable[[], None] = lambda: None
) -> T:
    """Call until the backend is reachable.

    Args:
        send: the call.
        stopped: ends the retries once it is set.
        on_failure: called after each failure.

    Raises:
        BackendUnavailable: `stopped` was set while the backend was unreachable.
        BlockHFError: the backend refused, for instance LeaseLost.
    """

    def failed(error: Exception) -> None:
        on_failure()
        log.warning("the backend is unreachable, retrying: %s", error)

    return call_with_retry(send, on=BackendUnavailable, stopped=stopped, failed=failed)
