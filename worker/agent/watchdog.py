"""Watches an execution from outside: escalates a shutdown, and detects a run that makes no progress."""

import time

from worker.agent.executor import Execution

LONGEST_UPDATE_FACTOR = 20
FIRST_UPDATE_FACTOR = 60


class Shutdown:
    """Ends an execution that was asked to stop: first waits, then interrupts it, then kills it.

    Args:
        patience: time from the request to the interrupt [s].
        force: time from the request to the kill [s].
    """

    def __init__(self, patience: float, force: float) -> None:
        self.patience = patience
        self._force = force
        self._requested = time.monotonic()
        self._interrupted = False

    def escalate(self, execution: Execution) -> None:
        """Interrupt or kill the execution if it is time to."""
        waited = time.monotonic() - self._requested
        if waited > self._force:
            execution.kill()
        elif waited > self.patience and not self._interrupted:
            self._interrupted = True
            execution.interrupt()


class StallDetector:
    """Detects a run that makes no update for both `timeout` seconds and 20 times its longest update so far.

    Updates of one run can differ by orders of magnitude, so a fixed timeout alone would end healthy runs. Before the
    first update, which includes fetching the data set, 60 times the timeout is allowed. Time is the sum of the checks'
    intervals, not the clock: a machine that was suspended does not end its runs.

    Args:
        execution: the run.
        timeout: shortest time without an update that counts as a stall [s].
    """

    def __init__(self, execution: Execution, timeout: float) -> None:
        self._execution = execution
        self._timeout = timeout
        self._last: float | None = None
        self._silent = 0.0
        self._longest: float | None = None

    def check(self, passed: float) -> str:
        """Check for progress.

        Args:
            passed: time since the last check [s].

        Returns:
            An error message if the run has stalled, else an empty text.
        """
        self._silent += passed
        now = self._execution.progress()
        if now is not None and now != self._last:
            if self._last is not None:
                self._longest = max(self._longest or 0, self._silent)
            self._last, self._silent = now, 0.0
        if self._longest is None:
            limit = FIRST_UPDATE_FACTOR * self._timeout
        else:
            limit = max(self._timeout, LONGEST_UPDATE_FACTOR * self._longest)
        if self._silent <= limit:
            return ""
        return (
            f"the training process was killed because it stalled: no update for {self._silent:.0f} s, while its "
            f"longest update took {self._longest or 0:.1f} s; retry the run, or raise BLOCKHF_STALL_TIMEOUT_SECONDS"
        )
