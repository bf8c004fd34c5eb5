"""Tests of executing runs in child processes."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from backend.schemas.api import Claim
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Run, RunStatus
from tests.processes import free_port, wait_until
from tests.worker.cases import small_run
from worker.agent.executor import EXIT_GAVE_UP, ExecutionSpec
from worker.agent.gate import Gate, Turn
from worker.agent.local_process import LINE_CHARACTERS, OUTPUT_LINES, ChildProcess, LocalProcess, LocalProcessExecutor


def a_turn() -> Turn:
    """Let a run join a gate of one core."""
    return Gate(1).join("abcdefgh", by="updates")


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalProcess]:
    """Start a child that waits for an unreachable backend."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)  # the executor sets it
    run = Run(
        id="abcdefgh", experiment_id="abcdefgh", experiment_name="test", config=small_run(Adam(gradient_batch=30)),
        status=RunStatus.RUNNING, created_at=datetime.now(UTC),
    )  # fmt: skip
    spec = ExecutionSpec(claim=Claim(run=run, claim_number=1), api=f"http://127.0.0.1:{free_port()}", home=tmp_path)
    execution = LocalProcessExecutor().start(spec, a_turn())
    assert isinstance(execution, LocalProcess)
    yield execution
    execution.kill()
    assert execution.wait(60)


def test_abandoned_child_ends(child: LocalProcess) -> None:
    """A child whose pipe is closed exits, also while it waits for an unreachable backend."""
    assert child.wait(0.01) is None
    child.abandon()
    end = child.wait(60)
    assert end is not None
    assert end.code == EXIT_GAVE_UP


@pytest.mark.parametrize(
    ("number", "hint"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)], ids=lambda value: str(value)
)
def test_killed_child_has_a_reason(child: LocalProcess, number: signal.Signals, hint: bool) -> None:
    """The reason has the signal, and for SIGKILL a hint at the memory."""
    os.kill(child.pid, number)
    end = child.wait(60)
    assert end is not None
    assert (end.code, number.name in end.reason, "memory" in end.reason) == (-number, True, hint)
    child.cancel()  # no error, although the child has exited
    child.abandon()


def mistaken(*pipes: Connection) -> None:
    """Print a megabyte without a line break, then raise, in the place of a training process."""
    os.dup2(pipes[1].fileno(), 1)
    os.dup2(pipes[1].fileno(), 2)
    print("x" * 1_000_000, flush=True)  # noqa: T201 - a child's output
    raise SystemError("the installation is broken")


def test_the_end_of_a_childs_output_is_returned(child: LocalProcess) -> None:
    """The exit of a child that cannot start has the last lines that it printed, of limited length."""
    end = LocalProcess(child.spec, a_turn(), ChildProcess(mistaken)).wait(60)
    assert end is not None
    assert end.code == 1
    assert end.output.endswith("the installation is broken")
    assert len(end.output) < OUTPUT_LINES * (LINE_CHARACTERS + 1)


def test_a_spare_process_takes_the_next_run(child: LocalProcess) -> None:
    """A run gets the process that waits, and another one waits then; it ends with the executor, or with its pipe."""
    executor = LocalProcessExecutor(spare=True)
    first = spare(executor)
    execution = executor.start(child.spec, a_turn())
    second = spare(executor)
    assert (execution.pid, second.wait(0)) == (first.pid, None)
    assert execution.wait(0.01) is None
    execution.abandon()
    end = execution.wait(60)
    assert end is not None
    assert end.code == EXIT_GAVE_UP
    second.kill()
    assert second.wait(60)
    third = executor.start(child.spec, a_turn())
    assert third.pid not in {first.pid, second.pid}
    third.kill()
    third.wait(60)
    last = spare(executor)
    last.commands.close()
    assert last.wait(60) == EXIT_GAVE_UP
    executor.close()
    executor.close()


def spare(executor: LocalProcessExecutor) -> ChildProcess:
    """Wait for the process that waits for its run."""
    wait_until(lambda: executor._spare)
    assert executor._spare is not None
    return executor._spare


@pytest.mark.skipif(sys.platform != "linux", reason="not Linux: each process imports torch itself")
def test_a_child_is_forked_from_a_server(child: LocalProcess) -> None:
    """It has torch when it starts, its waiting threads sleep, and SIGTERM does not end the server."""
    server = psutil.Process(child.pid).ppid()
    os.kill(server, signal.SIGTERM)
    other = ChildProcess(report)
    assert psutil.Process(other.pid).ppid() == server
    assert json.loads(other.output.readline()) == [True, "PASSIVE"]
    assert other.wait(60) == 0
    other.discard()


def report(*pipes: Connection) -> None:
    """Send whether torch was imported, and an environment variable."""
    os.write(
        pipes[1].fileno(), json.dumps(["torch" in sys.modules, os.environ.get("OMP_WAIT_POLICY")]).encode() + b"\n"
    )


def test_many_threads_get_their_childs_exit_code() -> None:
    """Threads that start and wait at the same time see the code of their own child."""
    children = [ChildProcess() for _ in range(8)]
    with ThreadPoolExecutor(2 * len(children)) as pool:
        starting = [pool.submit(ChildProcess) for _ in children]
        codes = [pool.submit(one.wait, 60) for one in children]
        for one in children:
            one.commands.close()
        assert [code.result() for code in codes] == [EXIT_GAVE_UP] * len(children)
        for started in starting:
            started.result().discard()
    for one in children:
        one.discard()
