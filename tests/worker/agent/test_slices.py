"""Tests of the lines by which a child asks its worker for time slices, over a real pipe."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.processes import wait_until
from worker.agent import slices as slices_module
from worker.agent.child import Signals
from worker.agent.gate import Gate, Turn
from worker.agent.slices import GRANT, Slices, serve


class Pair:
    """A child's end and a worker's end, joined by a pipe."""

    def __init__(self, gate: Gate) -> None:
        self.signals = Signals()
        self.turn: Turn = gate.join("abcdefgh", by="updates")
        of_worker, of_child = os.pipe()
        self.pipe = os.fdopen(of_child, "w")
        self.slices = Slices(self.pipe, self.signals.await_answer)
        self._worker = threading.Thread(
            target=serve, args=(os.fdopen(of_worker), self.turn, lambda: self.signals.receive(GRANT))
        )
        self._worker.start()

    def wait(self, updates: int) -> threading.Thread:
        """Wait for a slice in a thread, as a child that trains does."""
        thread = threading.Thread(target=self.slices.wait, args=(updates, 0.5))
        thread.start()
        return thread

    def exit(self) -> None:
        """Close the pipe, as the end of the child's process does."""
        with suppress(OSError):
            self.pipe.close()
        self._worker.join()


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    """Join two children to a gate of one core."""
    gate = Gate(1)
    both = Pair(gate), Pair(gate)
    yield both
    for pair in both:
        pair.exit()


def waits(pair: Pair) -> None:
    """Wait until the worker knows that a child waits."""
    while not pair.turn.waiting:
        time.sleep(0.001)


def test_children_train_in_turns(pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """A child continues without a question during its slice. Afterwards it waits while the other one trains."""
    monkeypatch.setattr(slices_module, "SLICE_SECONDS", 1000)
    one, other = pairs
    first = one.wait(0)
    waits(one)
    second = other.wait(0)
    first.join(60)
    assert not first.is_alive()
    assert not one.turn.waiting
    one.slices.wait(5, 0.5)
    assert other.turn.waiting
    one.slices.leave()
    second.join(60)
    assert not second.is_alive()


@pytest.mark.parametrize("request_of_user", ["cancel", "pause"])
def test_a_waiting_child_hears_the_user(pairs: tuple[Pair, Pair], request_of_user: str) -> None:
    """A cancel or a pause ends the wait for a slice."""
    one, other = pairs
    first = one.wait(0)
    waits(one)
    second = other.wait(0)
    first.join(60)
    waits(other)
    other.signals.receive(request_of_user)
    second.join(60)
    assert not second.is_alive()
    assert other.signals.stop_requested()
    wait_until(lambda: not other.turn.waiting)  # it left before its state is saved, so no other run waits for that
    third = one.wait(5)
    third.join(60)
    assert not third.is_alive()


def test_a_child_that_exits_leaves_the_gate(pairs: tuple[Pair, Pair]) -> None:
    """The end of its process frees its core, however it ended."""
    one, other = pairs
    first = one.wait(0)
    waits(one)
    second = other.wait(0)
    first.join(60)
    one.exit()
    second.join(60)
    assert not second.is_alive()
    assert not one.turn.waiting
