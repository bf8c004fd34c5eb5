"""When a run's state is saved. A failed write does not end the run."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from backend.schemas.runs import Checkpoint
from worker.checkpoints.files import Checkpoints, Snapshot

log = logging.getLogger(__name__)

NOTE_CHARACTERS = 500
COST_DIVISOR = 20
"""The pause between two checkpoints is at least this many times the last write's duration: they cost 5 % at most."""


class CheckpointPolicy(Protocol):
    """Loads the state from which a run continues, and decides when to save it."""

    def load(self) -> Snapshot | None:
        """Return the state to continue from, if any."""
        ...

    def missing_note(self) -> str:
        """Explain why there is no such state although there should be one; empty if none is expected."""
        ...

    def due(self) -> bool:
        """Return whether to save the state now."""
        ...

    def pause_requested(self) -> bool:
        """Return whether to save the state and pause the run."""
        ...

    def save(self, snapshot: Snapshot, update: int) -> bool:
        """Save the state after an update; return whether that succeeded."""
        ...

    def save_weights(self, weights: Snapshot) -> None:
        """Save the final weights."""
        ...


class DiskCheckpointPolicy:
    """Saves one run's state in files.

    Args:
        checkpoints: the run's files.
        recorded: the checkpoint that the backend has recorded.
        interval: shortest time between two checkpoints [s]; slow writes extend it, see `COST_DIVISOR`.
        pause_requested: returns whether the user asked for a pause.
        on_saved: receives each checkpoint that is on disk.
        sync: writes all rows reported so far to disk; called before each checkpoint, which is useless without them.

    Attributes:
        weights: SHA-256 of the final weights' file, once it exists.
        note: why the final weights could not be saved; empty if they were.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        recorded: Checkpoint | None,
        *,
        interval: float,
        pause_requested: Callable[[], bool],
        on_saved: Callable[[Checkpoint], None],
        sync: Callable[[], None] = lambda: None,
    ) -> None:
        self.weights: str | None = None
        self.note = ""
        self._checkpoints = checkpoints
        self._recorded = recorded
        self._interval = interval
        self.pause_requested = pause_requested
        self._on_saved = on_saved
        self._sync = sync
        self._next = time.monotonic() + interval

    def load(self) -> Snapshot | None:
        """Read the recorded checkpoint, if it is on this machine."""
        try:
            return None if self._recorded is None else self._checkpoints.load(self._recorded)
        except (OSError, ValueError) as error:
            log.warning("cannot read the checkpoint: %s", error)
            return None

    def missing_note(self) -> str:
        """Explain that the recorded checkpoint is not on this machine."""
        if self._recorded is None:
            return ""
        return (
            f"restarted: the checkpoint of update {self._recorded.update} is not on this worker's disk; "
            "it was removed or damaged, or written by another worker"
        )

    def due(self) -> bool:
        """Return whether the interval has passed."""
        return time.monotonic() >= self._next

    def save(self, snapshot: Snapshot, update: int) -> bool:
        """Write a checkpoint and report it; log a failure and return False."""
        started, saved = time.monotonic(), True
        try:
            self._sync()
            self._on_saved(self._checkpoints.save(snapshot, update))
            self._sync()  # the next checkpoint removes the one before this one, so this one must be named on the disk
        except OSError as error:
            log.warning("cannot save a checkpoint of update %d, training continues: %s", update, error)
            saved = False
        now = time.monotonic()
        self._next = now + max(self._interval, COST_DIVISOR * (now - started))
        return saved

    def save_weights(self, weights: Snapshot) -> None:
        """Write the final weights; note a failure."""
        try:
            self.weights = self._checkpoints.save_weights(weights)
        except OSError as error:
            log.warning("cannot save the final weights: %s", error)
            self.note = f"the final weights could not be saved, the last checkpoint is kept: {error}"[:NOTE_CHARACTERS]
