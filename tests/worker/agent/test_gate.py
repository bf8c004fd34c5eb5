"""Tests of the gate that grants time slices, with a clock that the test sets."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from backend.schemas.experiments import RaceBy
from worker.agent.gate import SLICE_SECONDS, START_SECONDS, Gate, Turn


@dataclass
class Runner:
    """A run at the gate that takes the same time for each update."""

    turn: Turn
    update_seconds: float
    updates: int = 0
    seconds: float = 0.0
    until: float = 0.0
    slices: int = 0
    training: bool = False

    def trains(self) -> None:
        """Begin a slice."""
        assert not self.training
        self.training = True
        self.slices += 1

    def ask(self) -> None:
        """End the slice and ask for the next one."""
        self.training = False
        self.turn.ask(self.updates, self.seconds, self.trains)


@dataclass
class Track:
    """A gate with its runs, and their common clock."""

    cores: int
    now: float = 0.0
    runners: list[Runner] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = Gate(self.cores, clock=lambda: self.now)

    def join(self, update_seconds: float, comparison: str = "a", *, by: RaceBy = "updates", **how: Any) -> Runner:
        """Add a run that has not asked yet."""
        self.runners.append(Runner(self.gate.join(comparison, by=by, **how), update_seconds))
        return self.runners[-1]

    def ask_all(self) -> None:
        """Let every run ask for its first slice."""
        for runner in self.runners:
            runner.ask()

    @property
    def training(self) -> list[Runner]:
        """The runs that train now."""
        return [runner for runner in self.runners if runner.training]

    def advance(self) -> None:
        """Let the training run whose slice ends first train to its end."""

        def left(runner: Runner) -> float:
            return runner.until - self.now if runner.until > self.now else self._slice(runner)

        for runner in self.training:
            runner.until = self.now + left(runner)
        first = min(self.training, key=lambda runner: runner.until)
        self.now = first.until
        first.updates += round(self._slice(first) / first.update_seconds)
        first.seconds += self._slice(first)
        first.ask()

    @staticmethod
    def _slice(runner: Runner) -> float:
        """Return how long a slice of a run is: it ends with an update."""
        return runner.update_seconds * math.ceil(round(SLICE_SECONDS / runner.update_seconds, 6))


def test_the_run_furthest_behind_trains() -> None:
    """On one core, the run with the fewest updates has the slice."""
    track = Track(1)
    fast, slow = track.join(0.01), track.join(0.5)
    track.ask_all()
    for _ in range(50):
        (training,) = track.training
        assert training.updates == min(fast.updates, slow.updates)
        track.advance()


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_update_counts_stay_within_two_slices(cores: int) -> None:
    """However many cores there are, no run leads another by more than two slices of the fastest one."""
    track = Track(cores)
    for seconds in (0.01, 0.05, 0.4):
        track.join(seconds)
    track.ask_all()
    for _ in range(500):
        track.advance()
        counts = [runner.updates for runner in track.runners]
        assert max(counts) - min(counts) <= 2 * 20
    assert min(counts) > 20


def test_training_seconds_stay_within_two_slices() -> None:
    """A race by seconds gives every run the same training time."""
    track = Track(2)
    for seconds in (0.01, 0.05, 0.1):
        track.join(seconds, by="seconds")
    track.ask_all()
    for _ in range(300):
        track.advance()
        times = [runner.seconds for runner in track.runners]
        assert max(times) - min(times) <= 2 * SLICE_SECONDS + 1e-9
    assert min(times) > 10 * SLICE_SECONDS


@pytest.mark.parametrize(("threads", "expected"), [(1, 4), (2, 2), (3, 1), (4, 1), (64, 1)])
def test_every_update_has_its_cores(threads: int, expected: int) -> None:
    """As many runs train at once as there are cores for their threads; more threads than cores count as all."""
    track = Track(4)
    for name in "abcdef":
        track.join(0.1, name, threads=threads)
    track.ask_all()
    for _ in range(20):
        assert len(track.training) == expected
        track.advance()


def test_one_run_trains_per_gpu() -> None:
    """Runs on different devices do not wait for each other."""
    track = Track(1)
    for name, device in [("a", "cuda:0"), ("b", "cuda:0"), ("c", "cuda:1"), ("d", "cpu"), ("e", "cpu")]:
        track.join(0.1, name, device=device, threads=8)
    track.ask_all()
    assert sorted(runner.turn.device for runner in track.training) == ["cpu", "cuda:0", "cuda:1"]


def test_a_run_of_many_threads_is_not_passed_over() -> None:
    """Where it is next, free cores are kept for it, so that runs of one thread do not keep it from training."""
    track = Track(2)
    for name in "abc":
        track.join(0.1, name)
    wide = track.join(0.1, "d", threads=2)
    track.ask_all()
    for _ in range(40):
        track.advance()
    assert wide.slices >= 5


def test_comparisons_share_the_time() -> None:
    """A comparison of many runs gets as much time as one of a single run, and one that comes later gets no more."""
    track = Track(1)
    many = [track.join(0.1, "a") for _ in range(5)]
    single = track.join(0.1, "b")
    track.ask_all()
    for _ in range(100):
        track.advance()
    late = track.join(0.1, "c")
    late.ask()
    before = single.slices
    assert abs(sum(runner.slices for runner in many) - single.slices) <= 2
    for _ in range(30):
        track.advance()
    assert abs(late.slices - (single.slices - before)) <= 2


def test_a_higher_priority_goes_first() -> None:
    """Runs of a lower priority train when no other run is ready, also those of the same comparison."""
    track = Track(1)
    low, same = track.join(0.1, "a"), track.join(0.1, "b")
    track.ask_all()
    high = track.join(0.1, "b", priority=1)
    high.ask()
    track.advance()
    then = low.slices + same.slices
    for _ in range(20):
        track.advance()
    assert (low.slices + same.slices, high.slices >= 20) == (then, True)
    high.turn.leave()
    high.training = False
    assert track.training


def test_a_run_that_leaves_frees_its_core_and_its_rivals() -> None:
    """When the last run of a comparison ends, the others need not wait for it any more."""
    track = Track(2)
    fast, slow = track.join(0.1), track.join(60)
    track.ask_all()
    while fast.training:
        track.advance()
    assert [runner.training for runner in (fast, slow)] == [False, True]
    slow.turn.leave()
    slow.turn.leave()
    assert fast.training
    slow.turn.ask(1, 1, lambda: pytest.fail("it has left"))


def test_a_comparison_starts_together() -> None:
    """First slices wait for the runs that start, but only for so long; a run that comes later is not waited for."""
    track = Track(2)
    first, _ = track.join(0.1), track.join(0.1)
    first.ask()
    assert not first.training
    assert first.turn.waiting
    track.now = START_SECONDS - 0.1
    track.gate.grant_slices()
    assert not first.training
    track.now = START_SECONDS + 0.1
    track.gate.grant_slices()
    assert first.training
    assert not first.turn.waiting
    track.join(0.1)
    track.advance()
    assert first.training


def test_a_run_that_comes_later_catches_up() -> None:
    """A resumed run far behind gets the slices until it has caught up."""
    track = Track(2)
    ahead = track.join(0.1)
    ahead.updates = 100
    ahead.ask()
    behind = track.join(0.1)
    behind.ask()
    track.advance()
    while behind.updates < 100:
        assert track.training == [behind]
        track.advance()
    assert behind.updates >= 100


def test_a_comparison_gets_no_credit_for_a_slow_start() -> None:
    """One whose runs need minutes to start, such as for a download, does not stop the others for minutes then."""
    track = Track(1)
    early = track.join(0.1)
    late = track.join(0.1, "b")
    early.ask()
    for _ in range(100):
        track.advance()
    late.ask()
    before = early.slices
    for _ in range(10):
        track.advance()
    assert abs((early.slices - before) - late.slices) <= 1
