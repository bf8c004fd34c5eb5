"""The machine that drives queue and model at random."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from tests.backend.queue.play.stage import Stage
from tests.backend.queue.play.workers import Workers

EXAMPLES = 1000 if "BLOCKHF_LONG" in os.environ else 60
PLAYS = settings(
    max_examples=EXAMPLES, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class Queueing(Workers):
    """Workers with good and stale tokens, users who launch, cancel, pause and retry, and a clock that jumps."""

    @initialize(taken=st.booleans(), trained=st.integers(0, 3), saved=st.integers(0, 3))
    def open(self, taken: bool, trained: int, saved: int) -> None:
        """Start with a worker that has one of two runs, with some updates, which another one may have lost."""
        self.launch(2)
        self.claim(0)
        if trained:
            self.train(0, trained, saved)
        if taken:
            self.take_over()


def play(scene: Stage, plays: settings = PLAYS) -> int:
    """Let hypothesis run; return the number of sequences. Raises the error of the first failing one."""
    count = 0

    class Play(Queueing):
        stage = scene

        def __init__(self) -> None:
            nonlocal count
            count += 1
            super().__init__()

    run_state_machine_as_test(Play, settings=plays)
    return count
