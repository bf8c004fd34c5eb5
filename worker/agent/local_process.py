"""The default engine: a child process of the worker per run."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque

from worker.agent.executor import Exit, Task

log = logging.getLogger(__name__)

OUTPUT_LINES = 40
LINE_CHARACTERS = 4_000
"""What a child prints without a line's end is cut into lines so long."""
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""What a child's environment gets unless it says otherwise: threads that wait sleep instead of spinning. Spinning costs
an update several times its processor time where others want the cores, and saves next to nothing where nobody does."""


class LocalEngine:
    """Executes each run in a process of its own, on this machine."""

    def start(self, task: Task) -> "LocalExecution":
        """Start `python -m worker.child` and tell it its task."""
        return LocalExecution(task)


class LocalExecution:
    """A child process. It reads its task, then orders, from a pipe; the pipe's end tells it that the worker died."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.agent.child"],
            env=ENVIRONMENT | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in a terminal is for the worker
        )
        self._lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._reader = threading.Thread(target=self._read, args=(task.claim.run.id,), daemon=True)
        self._reader.start()
        self._tell(task.model_dump_json())

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait(self, seconds: float) -> Exit | None:
        """Wait for the process's end, at most so long."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=5)
        self._close()
        return Exit(code, _reason(code), "\n".join(self._lines))

    def cancel(self) -> None:
        """Ask for the end after the current update."""
        self._tell("cancel")

    def pause(self) -> None:
        """Ask for a checkpoint and the end after the current update."""
        self._tell("pause")

    def progress(self) -> float | None:
        """Return when the run's spool last changed; each update is noted there. None: there was none yet."""
        try:
            return self.task.spool.stat().st_mtime or None
        except FileNotFoundError:
            return None

    def interrupt(self) -> None:
        """Ask, by SIGTERM, for the end within the current update."""
        self._process.terminate()

    def abandon(self) -> None:
        """Close the pipe, at which the child ends."""
        self._close()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended: `wait` says how
            log.debug("the child does not listen any more")

    def _close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            log.debug("the child does not listen any more")

    def _read(self, run_id: str) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(LINE_CHARACTERS):
                self._lines.append(line.rstrip())
                log.info("run %s: %s", run_id, line.rstrip())


def _reason(code: int) -> str:
    """Say in words why a child ended."""
    if code >= 0:
        return f"the training process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"the training process was killed by {name}{hint}"
