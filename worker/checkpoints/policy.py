"""When a run's state is kept, and what happens where that fails: training goes on."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from backend.schemas.runs import Checkpoint
from worker.checkpoints.files import Checkpoints, State

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """Gives a run the state to go on from, and keeps its state from time to time."""

    def found(self) -> State | None:
        """Return the state to go on from, if there is one."""
        ...

    def missing(self) -> str:
        """Say why there is none where there should be one."""
        ...

    def due(self) -> bool:
        """Tell whether the state should be kept now."""
        ...

    def paused(self) -> bool:
        """Tell whether the user wants the run to be kept and to stop."""
        ...

    def keep(self, state: State, update: int) -> bool:
        """Keep the state after an update; tell whether that went."""
        ...

    def end(self, weights: State) -> None:
        """Keep the final weights."""
        ...


class DiskKeeper:
    """Keeps one run's state in files.

    Args:
        checkpoints: the run's files.
        named: the checkpoint that the backend names.
        every: how often to keep the state [s]; a write that takes long makes it rarer, so that it costs at most 5 %.
        paused: asked whether the user wants a pause.
        tell: is told of a checkpoint that is on the disk.
        sync: brings what was reported so far to the disk; a checkpoint counts on the rows before it.

    Attributes:
        weights: SHA-256 of the final weights' file, once there is one.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        named: Checkpoint | None,
        *,
        every: float,
        paused: Callable[[], bool],
        tell: Callable[[Checkpoint], None],
        sync: Callable[[], None] = lambda: None,
    ) -> None:
        self.weights: str | None = None
        self._checkpoints = checkpoints
        self._named = named
        self._every = every
        self.paused = paused
        self._tell = tell
        self._sync = sync
        self._next = time.monotonic() + every

    def found(self) -> State | None:
        """Read the checkpoint that the backend names, if it is on this machine."""
        try:
            return None if self._named is None else self._checkpoints.load(self._named)
        except (OSError, ValueError) as error:
            log.warning("the checkpoint cannot be read: %s", error)
            return None

    def missing(self) -> str:
        """Say that the checkpoint is not here."""
        if self._named is None:
            return ""
        return (
            f"began again: the checkpoint of update {self._named.update} is not on this worker's disk; "
            "it was removed or damaged there, or another worker wrote it"
        )

    def due(self) -> bool:
        """Tell whether the last time is long enough ago."""
        return time.monotonic() >= self._next

    def keep(self, state: State, update: int) -> bool:
        """Write a checkpoint and tell of it; where it cannot be written, say so in the log."""
        started, kept = time.monotonic(), True
        try:
            self._sync()
            self._tell(self._checkpoints.save(state, update))
        except OSError as error:
            log.warning("update %d could not be kept, training goes on: %s", update, error)
            kept = False
        now = time.monotonic()
        self._next = now + max(self._every, 20 * (now - started))
        return kept

    def end(self, weights: State) -> None:
        """Write the final weights."""
        try:
            self.weights = self._checkpoints.save_weights(weights)
        except OSError as error:
            log.warning("the final weights could not be kept: %s", error)
