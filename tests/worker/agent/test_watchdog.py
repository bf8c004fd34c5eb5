"""Tests of watching a run from outside."""

from dataclasses import dataclass, field

from worker.agent.executor import Exit
from worker.agent.watchdog import Ending, Progress


@dataclass
class Scripted:
    """An execution that makes an update when the test says so, and notes what it is asked."""

    updates: float | None = None
    asked: list[str] = field(default_factory=list)

    def wait(self, seconds: float) -> Exit | None:  # noqa: ARG002 - an execution's arguments
        """Go on."""
        return None

    def progress(self) -> float | None:
        """Tell how far it is."""
        return self.updates

    def cancel(self) -> None:
        """Note it."""
        self.asked.append("cancel")

    def pause(self) -> None:
        """Note it."""
        self.asked.append("pause")

    def interrupt(self) -> None:
        """Note it."""
        self.asked.append("interrupt")

    def abandon(self) -> None:
        """Note it."""
        self.asked.append("abandon")

    def kill(self) -> None:
        """Note it."""
        self.asked.append("kill")


def silent_for(progress: Progress, seconds: int) -> list[str]:
    """Look each second; return what was found."""
    return [reason for _ in range(seconds) if (reason := progress.hangs(1))]


def test_a_run_hangs_without_updates_for_long() -> None:
    """It must be silent for the time allowed, and for 20 times its longest update."""
    execution = Scripted(updates=1)
    progress = Progress(execution, 10)
    assert silent_for(progress, 1) == []
    execution.updates = 2  # a quick one: what counts is the time allowed
    assert silent_for(progress, 11) == []
    execution.updates = 3  # took 11 s: 220 s are allowed now
    assert silent_for(progress, 221) == []
    (reason,) = silent_for(progress, 1)
    assert reason.startswith("the training process hangs: it made no update for 221 s, and its longest so far took 11")


def test_the_first_update_may_take_long() -> None:
    """Fetching data and the first update are given 60 times the time allowed."""
    progress = Progress(Scripted(), 10)
    assert silent_for(progress, 600) == []
    assert silent_for(progress, 1)


def test_an_end_is_asked_for_more_and_more_firmly() -> None:
    """First nothing, then one interrupt, then force."""
    execution = Scripted()
    Ending(100, 200).insist(execution)
    assert execution.asked == []
    ending = Ending(-1, 200)
    ending.insist(execution)
    ending.insist(execution)
    assert execution.asked == ["interrupt"]
    Ending(-2, -1).insist(execution)
    assert execution.asked == ["interrupt", "kill"]
