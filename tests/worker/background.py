"""A worker in a thread of the test, and what it asks of its child processes."""

import threading

from backend.schemas.runs import Run
from tests.processes import Processes
from tests.worker.conftest import make_worker
from worker.agent.executor import ExecutionSpec
from worker.agent.gate import Turn
from worker.agent.local_process import LocalProcess


class Noted(LocalProcess):
    """A real child process that notes what its worker asks of it, in order."""

    def __init__(self, spec: ExecutionSpec, turn: Turn) -> None:
        self.asked: list[str] = []
        super().__init__(spec, turn)

    def cancel(self) -> None:
        """Note it and do it."""
        self.asked.append("cancel")
        super().cancel()

    def interrupt(self) -> None:
        """Note it and do it."""
        self.asked.append("SIGTERM")
        super().interrupt()

    def kill(self) -> None:
        """Note it and do it."""
        self.asked.append("SIGKILL")
        super().kill()


class Started:
    """An executor that remembers the last one."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def start(self, spec: ExecutionSpec, turn: Turn) -> Noted:
        """Start a child."""
        self.last = Noted(spec, turn)
        self.event.set()
        return self.last


class Background:
    """One iteration of a worker in a thread, and its child."""

    def __init__(self, processes: Processes, **settings: float) -> None:
        self._processes = processes
        self.executor = Started()
        self.stopped = threading.Event()
        self.worker = make_worker(processes, self.executor, self.stopped, None, **settings)
        assert not self.worker.iterate()  # registers

    def begin(self, run: Run, *, rows: int = 1) -> None:
        """Begin the run and wait until it has some rows."""
        self.thread = threading.Thread(target=self.worker.iterate)
        self.thread.start()
        assert self.executor.event.wait(120)
        self._processes.wait_until(lambda: self._processes.client.run(run.id).summary.updates >= rows)

    def end(self) -> None:
        """Wait for the iteration's end."""
        self.thread.join(120)
        assert not self.thread.is_alive()
