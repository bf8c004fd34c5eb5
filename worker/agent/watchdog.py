"""Watching a run from outside: it ends when it must, and it does not hang unnoticed."""

import time

from worker.agent.executor import Execution

SLOWER = 20
FIRST_UPDATE = 60
"""A run hangs that takes so many times its longest update, or, before the first one, the time allowed without any."""


class Ending:
    """Makes a run end that was asked to: after some patience [s] by an interrupt, and later by force."""

    def __init__(self, patience: float, force: float) -> None:
        self.patience = patience
        self._force = force
        self._asked = time.monotonic()
        self._interrupted = False

    def insist(self, execution: Execution) -> None:
        """Do what it is time for."""
        waited = time.monotonic() - self._asked
        if waited > self._force:
            execution.kill()
        elif waited > self.patience and not self._interrupted:
            self._interrupted = True
            execution.interrupt()


class Progress:
    """Finds a run that hangs: one without an update for a time, and for many times its longest update so far.

    Time is counted by looks, so that a machine that slept does not end its runs.
    """

    def __init__(self, execution: Execution, allowed: float) -> None:
        self._execution = execution
        self._allowed = allowed
        self._last: float | None = None
        self._silent = 0.0
        self._longest: float | None = None

    def hangs(self, passed: float) -> str:
        """Look again after some seconds; return the reason where the run hangs, else an empty text."""
        self._silent += passed
        now = self._execution.progress()
        if now is not None and now != self._last:
            if self._last is not None:
                self._longest = max(self._longest or 0, self._silent)
            self._last, self._silent = now, 0.0
        longest = FIRST_UPDATE * self._allowed if self._longest is None else SLOWER * self._longest
        limit = max(self._allowed, longest)
        if self._silent <= limit:
            return ""
        return (
            f"the training process hangs: it made no update for {self._silent:.0f} s, and its longest so far took "
            f"{self._longest or 0:.1f} s; it was ended"
        )
