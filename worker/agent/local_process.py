"""The default executor: one child process of the worker per run."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from functools import partial

from worker.agent.executor import ExecutionSpec, Exit
from worker.agent.gate import Turn
from worker.agent.slices import GRANT, serve

log = logging.getLogger(__name__)

OUTPUT_LINES = 40
LINE_CHARACTERS = 4_000
"""Longer lines of a child's output are split."""
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Default environment of a child: waiting OpenMP threads sleep instead of spinning. On busy cores spinning multiplies
an update's processor time; on idle cores it saves almost nothing."""


class ChildProcess:
    """A process of `worker.agent.child` that waits for its specification.

    It reads the specification, then signals and grants of time slices, from a pipe, which closes when the worker dies.
    It asks for time slices by a second pipe, because its output can be anything.
    """

    def __init__(self) -> None:
        asks, of_child = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.agent.child", str(of_child)],
                env=ENVIRONMENT | os.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C in a terminal must reach the worker only
                pass_fds=(of_child,),
            )
        except BaseException:
            os.close(asks)
            raise
        finally:
            os.close(of_child)
        self.asks = os.fdopen(asks)

    def discard(self) -> None:
        """End a process that got no specification."""
        self.process.kill()
        with self.process, self.asks:
            pass


class LocalProcessExecutor:
    """Executes each run in a separate process on this machine.

    Args:
        spare: start each process before its run is there, so that it has imported torch by then. There is one such
            process at a time, besides those of runs.
    """

    def __init__(self, *, spare: bool = False) -> None:
        self._lock = threading.Lock()
        self._keeps_spare = spare
        self._spare = self._prepared()

    def start(self, spec: ExecutionSpec, turn: Turn) -> "LocalProcess":
        """Send the specification to the spare process, and replace that; without one start a process."""
        with self._lock:
            child, self._spare = self._spare, self._prepared()
        if child is not None and child.process.poll() is not None:
            log.warning("the spare process has ended with exit code %d", child.process.returncode)
            child.discard()
            child = None
        return LocalProcess(spec, turn, child)

    def _prepared(self) -> ChildProcess | None:
        try:
            return ChildProcess() if self._keeps_spare else None
        except OSError as error:  # the next run starts a process of its own, or fails with the reason
            log.warning("cannot start a spare process: %s", error)
            return None

    def close(self) -> None:
        """End the spare process."""
        with self._lock:
            child, self._spare = self._spare, None
        if child is not None:
            child.discard()


class LocalProcess:
    """A run in a child process.

    Args:
        spec: what to execute.
        turn: the run at the worker's gate.
        child: the process; None: start one.
    """

    def __init__(self, spec: ExecutionSpec, turn: Turn, child: ChildProcess | None = None) -> None:
        self.spec = spec
        child = child or ChildProcess()
        self._process = child.process
        self._sending = threading.Lock()
        self._lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._reader = threading.Thread(target=self._read, args=(spec.claim.run.id,), daemon=True)
        self._reader.start()
        grant = partial(self._send, GRANT)
        threading.Thread(target=serve, args=(child.asks, turn, grant), name="slices", daemon=True).start()
        self._send(spec.model_dump_json())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait(self, seconds: float) -> Exit | None:
        """Wait at most this many seconds for the end of the process."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=5)
        self._close()
        return Exit(code, _reason(code), "\n".join(self._lines))

    def cancel(self) -> None:
        """Request the end after the current update."""
        self._send("cancel")

    def pause(self) -> None:
        """Request a checkpoint and the end after the current update."""
        self._send("pause")

    def progress(self) -> float | None:
        """Return when the outbox last changed, which each update does; None before the first."""
        try:
            return self.spec.outbox.stat().st_mtime or None
        except FileNotFoundError:
            return None

    def interrupt(self) -> None:
        """Request, by SIGTERM, the end within the current update."""
        self._process.terminate()

    def abandon(self) -> None:
        """Close the pipe, which makes the child exit."""
        self._close()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            with self._sending:  # the gate grants slices in other threads
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):  # it has exited: `wait` returns why
            log.debug("the child process has exited")

    def _close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            log.debug("the child process has exited")

    def _read(self, run_id: str) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(LINE_CHARACTERS):
                self._lines.append(line.rstrip())
                log.info("run %s: %s", run_id, line.rstrip())


def _reason(code: int) -> str:
    """Describe an exit code."""
    if code >= 0:
        return f"the training process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = "; the machine may have run out of memory" if name == "SIGKILL" else ""
    return f"the training process was killed by {name}{hint}"
