"""How a child process asks its worker for time slices: by lines on a pipe, answered on its standard input."""

import time
from collections.abc import Callable
from typing import TextIO

from worker.agent.gate import SLICE_SECONDS, Turn

GRANT = "train"
"""the worker's answer"""
_ASK = "ask"
_LEAVE = "leave"


class Slices:
    """A child's time slices.

    Args:
        pipe: to the worker.
        await_answer: waits until `GRANT` has come, or the run must end, and returns whether it is the first; receives
            what sends the question.
    """

    def __init__(self, pipe: TextIO, await_answer: Callable[[Callable[[], None]], bool]) -> None:
        self._pipe = pipe
        self._await_answer = await_answer
        self._end: float | None = None

    def wait(self, updates: int, seconds: float) -> None:
        """Return at once within a slice; after its end wait for the next one, or until the run must end.

        Args:
            updates: number of updates so far.
            seconds: training time so far [s].
        """
        if self._end is not None and time.monotonic() < self._end:
            return
        if self._await_answer(lambda: self._send(f"{_ASK} {updates} {seconds!r}")):
            self._end = time.monotonic() + SLICE_SECONDS
        else:
            self.leave()  # no other run waits while this one saves its state

    def leave(self) -> None:
        """Let other runs train from now on."""
        self._send(_LEAVE)

    def _send(self, line: str) -> None:
        try:
            self._pipe.write(line + "\n")
            self._pipe.flush()
        except BrokenPipeError:  # the worker is gone: this process ends soon
            pass


def serve(pipe: TextIO, turn: Turn, grant: Callable[[], None]) -> None:
    """Pass the lines of a child on to the gate, until the child ends.

    Args:
        pipe: from the child.
        turn: the child's run at the gate.
        grant: sends `GRANT` to the child.
    """
    try:
        with pipe:
            for line in pipe:
                word, *numbers = line.split()
                if word == _ASK:
                    turn.ask(int(numbers[0]), float(numbers[1]), grant)
                else:
                    turn.leave()
    finally:
        turn.leave()
