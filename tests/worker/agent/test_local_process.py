"""Tests of executing runs in child processes."""

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backend.schemas.api import Claim
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Run, RunStatus
from tests.processes import free_port
from tests.worker.cases import small_run
from worker.agent.executor import EXIT_GAVE_UP, ExecutionSpec
from worker.agent.gate import Gate, Turn
from worker.agent.local_process import LINE_CHARACTERS, OUTPUT_LINES, LocalProcess, LocalProcessExecutor


def a_turn() -> Turn:
    """Let a run join a gate of one core."""
    return Gate(1).join("abcdefgh", by="updates")


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalProcess:
    """Start a child that waits for an unreachable backend."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)  # the executor sets it
    run = Run(
        id="abcdefgh", experiment_id="abcdefgh", experiment_name="test", config=small_run(Adam(gradient_batch=30)),
        status=RunStatus.RUNNING, created_at=datetime.now(UTC),
    )  # fmt: skip
    spec = ExecutionSpec(claim=Claim(run=run, claim_number=1), api=f"http://127.0.0.1:{free_port()}", home=tmp_path)
    execution = LocalProcessExecutor().start(spec, a_turn())
    assert isinstance(execution, LocalProcess)
    return execution


def test_abandoned_child_ends(child: LocalProcess) -> None:
    """A child whose pipe is closed exits, also while it waits for an unreachable backend."""
    assert child.wait(0.01) is None
    child.abandon()
    end = child.wait(60)
    assert end is not None
    assert end.code == EXIT_GAVE_UP


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc, from which a process's environment is read")
def test_waiting_threads_sleep(child: LocalProcess) -> None:
    """A child's waiting threads sleep, so that other processes can use the cores."""
    environment, deadline = b"", time.monotonic() + 30
    while not environment and time.monotonic() < deadline:  # empty until the program is loaded
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    child.abandon()
    assert b"OMP_WAIT_POLICY=PASSIVE" in environment.split(b"\0")
    assert child.wait(60) is not None


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


def test_the_output_of_a_child_that_cannot_start_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: LocalProcess
) -> None:
    """The exit has the last lines that the child printed."""
    child.kill()
    child.wait(60)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemError('the installation is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = LocalProcessExecutor().start(child.spec, a_turn())
    end = broken.wait(60)
    assert end is not None
    assert end.code == 1
    assert "the installation is broken" in end.output


def test_the_output_of_a_child_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: LocalProcess) -> None:
    """Of a megabyte without a line break only the end is returned."""
    child.kill()
    child.wait(60)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit(print('x' * 1_000_000 + 'last line') or 9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    end = LocalProcessExecutor().start(child.spec, a_turn()).wait(60)
    assert end is not None
    assert end.output.endswith("last line")
    assert len(end.output) < OUTPUT_LINES * (LINE_CHARACTERS + 1)


def test_a_spare_process_takes_the_next_run(child: LocalProcess) -> None:
    """A run gets the process that waits, and another one waits then; it ends with the executor, or with its pipe."""
    child.kill()
    child.wait(60)
    executor = LocalProcessExecutor(spare=True)
    first = executor._spare
    assert first is not None
    execution = executor.start(child.spec, a_turn())
    second = executor._spare
    assert second is not None
    assert (execution.pid, second.process.poll()) == (first.process.pid, None)
    assert execution.wait(0.01) is None
    execution.abandon()
    end = execution.wait(60)
    assert end is not None
    assert end.code == EXIT_GAVE_UP
    second.process.kill()
    second.process.wait(60)
    third = executor.start(child.spec, a_turn())
    assert third.pid not in {first.process.pid, second.process.pid}
    third.kill()
    third.wait(60)
    last = executor._spare
    assert last is not None
    assert last.process.stdin is not None
    last.process.stdin.close()
    assert last.process.wait(60) == EXIT_GAVE_UP
    executor.close()
    executor.close()
