"""A race of real child processes."""

import threading
import time
from collections.abc import Callable

from backend.schemas.experiments import Budget, Evaluation, Problem
from backend.schemas.runs import RunStatus
from tests.processes import Processes
from tests.worker.cases import OPTIMIZERS, small_run, trained
from tests.worker.conftest import launch, make_worker
from worker.agent.gate import Gate, Turn


class Observed(Gate):
    """A gate that notes how far apart the runs are, for as long as all of them train."""

    def __init__(self, cores: int, runs: int) -> None:
        super().__init__(cores)
        self.spreads: list[float] = []
        self.gains: list[float] = []
        self.asked = 0
        self.began = self.ended = 0.0
        self._runs = runs
        self._positions: dict[Turn, float] = {}

    def ask(self, turn: Turn, position: float, grant: Callable[[], None]) -> None:
        """Note the positions of all runs."""
        self.began = self.began or time.monotonic()
        self.asked += 1
        self._positions[turn] = position
        super().ask(turn, position, grant)
        self.gains.append(turn.gain or 0)
        if len(self._positions) == self._runs:
            self.spreads.append(max(self._positions.values()) - min(self._positions.values()))

    def leave(self, turn: Turn) -> None:
        """Note the end of the race."""
        super().leave(turn)
        self._positions.pop(turn, None)
        self.ended = time.monotonic()


def test_three_runs_race(processes: Processes) -> None:
    """Their update counts stay within two slices; their seconds do not count waiting; their rows are those alone."""
    gate, stopped = Observed(2, 3), threading.Event()
    worker = make_worker(processes, stopped=stopped, gate=gate)
    thread = threading.Thread(target=worker.loop)
    thread.start()
    changes = {
        "problem": Problem(train_size=100, test_size=40),
        "budget": Budget(updates=30),
        "evaluation": Evaluation(every=10, train_subset=50),
    }
    try:
        runs = launch(processes, list(OPTIMIZERS.values()), **changes).runs
        ended = processes.client.wait([run.id for run in runs], timeout=250)
    finally:
        stopped.set()
        thread.join()
    assert [run.status for run in ended] == [RunStatus.FINISHED] * 3
    assert gate.asked > 6
    assert max(gate.spreads) <= 2 * max(gate.gains)
    assert sum(run.summary.seconds for run in ended) < 2 * (gate.ended - gate.began)
    for run, optimizer in zip(ended, OPTIMIZERS.values(), strict=True):
        _, alone = trained(small_run(optimizer, **changes))
        stored = processes.client.series([run.id])[run.id]
        for field in ("batch_loss", "test_loss", "step_norm", "cost"):
            assert stored[field] == [getattr(row, field) for row in alone.rows]
