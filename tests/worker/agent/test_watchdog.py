"""Tests of shutting down a run, and of detecting a stalled one."""

import re
from dataclasses import dataclass, field

from worker.agent.executor import Exit
from worker.agent.watchdog import Shutdown, StallDetector


@dataclass
class Scripted:
    """An execution whose progress the test sets; it records the requests."""

    updates: float | None = None
    requests: list[str] = field(default_factory=list)

    def wait(self, seconds: float) -> Exit | None:  # noqa: ARG002 - an execution's arguments
        """Never end."""
        return None

    def progress(self) -> float | None:
        """Return what the test has set."""
        return self.updates

    def cancel(self) -> None:
        """Record the request."""
        self.requests.append("cancel")

    def pause(self) -> None:
        """Record the request."""
        self.requests.append("pause")

    def stop(self) -> None:
        """Record the request."""
        self.requests.append("stop")

    def interrupt(self) -> None:
        """Record the request."""
        self.requests.append("interrupt")

    def abandon(self) -> None:
        """Record the request."""
        self.requests.append("abandon")

    def kill(self) -> None:
        """Record the request."""
        self.requests.append("kill")


def check_for(detector: StallDetector, seconds: int) -> list[str]:
    """Check once per second; return the errors."""
    return [reason for _ in range(seconds) if (reason := detector.check(1))]


def test_a_run_without_updates_has_stalled() -> None:
    """It stalls after the timeout, and 20 times its longest update."""
    execution = Scripted(updates=1)
    detector = StallDetector(execution, 10)
    assert check_for(detector, 1) == []
    execution.updates = 2  # a short update: the timeout counts
    assert check_for(detector, 11) == []
    execution.updates = 3  # it took 11 s: now 220 s are allowed
    assert check_for(detector, 221) == []
    (error,) = check_for(detector, 1)
    assert re.findall(r"[\d.]+", error) == ["221", "11.0"]


def test_the_first_update_may_take_long() -> None:
    """Fetching data and the first update may take 60 times the timeout."""
    detector = StallDetector(Scripted(), 10)
    assert check_for(detector, 600) == []
    assert check_for(detector, 1)


def test_a_shutdown_escalates() -> None:
    """First it waits, then it interrupts once, then it kills."""
    execution = Scripted()
    Shutdown(100, 200).escalate(execution)
    assert execution.requests == []
    shutdown = Shutdown(-1, 200)
    shutdown.escalate(execution)
    shutdown.escalate(execution)
    assert execution.requests == ["interrupt"]
    Shutdown(-2, -1).escalate(execution)
    assert execution.requests == ["interrupt", "kill"]
