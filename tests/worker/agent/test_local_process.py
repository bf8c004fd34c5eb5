"""Tests of the engine of child processes."""

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
from worker.agent.executor import ABANDONED, Task
from worker.agent.local_process import LINE_CHARACTERS, OUTPUT_LINES, LocalEngine, LocalExecution


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalExecution:
    """Start a child whose backend is not there, so that it waits for it for ever."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)  # the engine sets it
    run = Run(
        id="abcdefgh", experiment_id="abcdefgh", experiment_name="test", config=small_run(Adam(gradient_batch=30)),
        status=RunStatus.RUNNING, created_at=datetime.now(UTC),
    )  # fmt: skip
    task = Task(claim=Claim(run=run, token=1), api=f"http://127.0.0.1:{free_port()}", home=tmp_path)
    execution = LocalEngine().start(task)
    assert isinstance(execution, LocalExecution)
    return execution


def test_abandoned_child_ends(child: LocalExecution) -> None:
    """A child whose pipe is closed ends by itself, though it waits for a backend that is away."""
    assert child.wait(0.01) is None
    child.abandon()
    end = child.wait(60)
    assert end is not None
    assert end.code == ABANDONED


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a process's environment is read from /proc")
def test_waiting_threads_sleep(child: LocalExecution) -> None:
    """A child's threads do not spin while they wait, so that they leave a busy machine to others."""
    environment, deadline = b"", time.monotonic() + 30
    while not environment and time.monotonic() < deadline:  # it has none until its program is loaded
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    child.abandon()
    assert b"OMP_WAIT_POLICY=PASSIVE" in environment.split(b"\0")
    assert child.wait(60) is not None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "the training process was killed by SIGKILL; the system may have run out of memory"),
        (signal.SIGSEGV, "the training process was killed by SIGSEGV"),
    ],
)
def test_killed_child_has_a_reason(child: LocalExecution, number: signal.Signals, reason: str) -> None:
    """The signal that ended a child is named."""
    os.kill(child.pid, number)
    end = child.wait(60)
    assert end is not None
    assert end.reason == reason
    child.cancel()  # nobody listens: nothing happens
    child.abandon()


def test_child_that_cannot_start_shows_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: LocalExecution
) -> None:
    """What a child printed before it ended with an error is kept."""
    child.kill()
    child.wait(60)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemError('the installation is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = LocalEngine().start(child.task)
    end = broken.wait(60)
    assert end is not None
    assert end.reason == "the training process ended with exit code 1"
    assert "the installation is broken" in end.output


def test_what_a_child_prints_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: LocalExecution) -> None:
    """A megabyte without a line's end is kept as the last lines, none of them long."""
    child.kill()
    child.wait(60)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit(print('x' * 1_000_000 + 'last words') or 9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    end = LocalEngine().start(child.task).wait(60)
    assert end is not None
    assert end.output.endswith("last words")
    assert len(end.output) < OUTPUT_LINES * (LINE_CHARACTERS + 1)
