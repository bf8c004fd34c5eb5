"""The default executor: one child process of the worker per run, forked from a server that has imported torch."""

import atexit
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import chain
from multiprocessing import connection

from worker.agent import child as training
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

# Importing torch takes seconds, and a fork of a process that has imported it takes milliseconds. Elsewhere than on
# Linux the system's libraries do not survive a fork.
if sys.platform == "linux":
    _CONTEXT = multiprocessing.get_context("forkserver")
else:
    _CONTEXT = multiprocessing.get_context("spawn")
_CONTEXT.set_forkserver_preload(["worker.agent.fork_server"])
_LOCK = threading.Lock()
"""multiprocessing reads a process's exit code from a pipe, once: two threads must not do so at the same time."""


class ChildProcess:
    """A process of `worker.agent.child` that waits for its specification.

    It reads the specification, then signals and grants of time slices, from a pipe, which closes when the worker dies.
    It asks for time slices by a second pipe, because its output can be anything.

    Args:
        target: what it executes, a function with the arguments of `worker.agent.child.run`.
    """

    def __init__(self, target: Callable[..., None] = training.run) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(3)]
        (of_child, commands), (output, printed), (asks, asked) = pipes
        self.commands, self.output, self.asks = (
            os.fdopen(os.dup(end.fileno()), mode, errors="replace")
            for end, mode in ((commands, "w"), (output, "r"), (asks, "r"))
        )
        self._process = _CONTEXT.Process(target=target, args=(of_child, printed, asked, dict(os.environ)))
        try:
            with _LOCK:
                self._process.start()
        except (EOFError, OSError) as error:
            self._close()
            raise OSError(
                f"{error or 'the server of training processes has ended'}; see the worker's output"
            ) from error
        finally:
            for end in chain(*pipes):
                end.close()
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None
        return self._process.pid

    def wait(self, seconds: float) -> int | None:
        """Wait at most this many seconds for the exit code, which is -n after signal n."""
        if not connection.wait([self._process.sentinel], seconds):
            return None
        with _LOCK:
            self._process.join()
        atexit.unregister(self.kill)
        return self._process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def discard(self) -> None:
        """End a process that got no specification."""
        self.kill()
        self.wait(60)
        self._close()

    def _close(self) -> None:
        for stream in (self.commands, self.output, self.asks):
            stream.close()


class LocalProcessExecutor:
    """Executes each run in a separate process on this machine.

    Args:
        spare: start each process before its run is there, so that it has its CUDA context by then. There is one such
            process at a time, besides those of runs.
    """

    def __init__(self, *, spare: bool = False) -> None:
        self._lock = threading.RLock()
        self._wants_spare = spare
        self._spare: ChildProcess | None = None
        threading.Thread(target=self._prepare, daemon=True).start()  # the first one waits until torch is imported

    def start(self, spec: ExecutionSpec, turn: Turn) -> "LocalProcess":
        """Send the specification to the spare process, and replace that; without one start a process."""
        with self._lock:
            child, self._spare = self._spare, None
            self._prepare()
        if child is not None and (code := child.wait(0)) is not None:
            log.warning("the spare process has ended with exit code %d", code)
            child.discard()
            child = None
        return LocalProcess(spec, turn, child)

    def _prepare(self) -> None:
        with self._lock:
            try:
                if self._wants_spare and self._spare is None:
                    self._spare = ChildProcess()
            except OSError as error:  # the next run starts a process of its own, or fails with the reason
                log.warning("cannot start a spare process: %s", error)

    def close(self) -> None:
        """End the spare process."""
        with self._lock:
            self._wants_spare = False
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
        self._child = child or ChildProcess()
        self._sending = threading.Lock()
        self._lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._reader = threading.Thread(target=self._read, args=(spec.claim.run.id,), daemon=True)
        self._reader.start()
        grant = partial(self._send, GRANT)
        threading.Thread(target=serve, args=(self._child.asks, turn, grant), name="slices", daemon=True).start()
        self._send(spec.model_dump_json())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def wait(self, seconds: float) -> Exit | None:
        """Wait at most this many seconds for the end of the process."""
        code = self._child.wait(seconds)
        if code is None:
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

    def stop(self) -> None:
        """Request a checkpoint after the current update, and the return of the run to the queue."""
        self._send("stop")

    def progress(self) -> float | None:
        """Return when the outbox last changed, which each update does; None before the first."""
        try:
            return self.spec.outbox.stat().st_mtime or None
        except FileNotFoundError:
            return None

    def interrupt(self) -> None:
        """Request, by SIGTERM, the end within the current update."""
        self._child.terminate()

    def abandon(self) -> None:
        """Close the pipe, which makes the child exit."""
        self._close()

    def kill(self) -> None:
        """End the process at once."""
        self._child.kill()

    def _send(self, line: str) -> None:
        try:
            with self._sending:  # the gate grants slices in other threads
                self._child.commands.write(line + "\n")
                self._child.commands.flush()
        except (OSError, ValueError):  # it has exited: `wait` returns why
            log.debug("the child process has exited")

    def _close(self) -> None:
        try:
            self._child.commands.close()
        except OSError:
            log.debug("the child process has exited")

    def _read(self, run_id: str) -> None:
        with self._child.output as stream:
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
