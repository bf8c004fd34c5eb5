"""Tests of a worker that holds several runs, with a backend in this process and executions without a process."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from tests.clients import BothClient
from tests.inprocess import backend
from tests.processes import wait_until
from tests.worker.cases import registry, small_run
from worker.agent import loop
from worker.agent.executor import EXIT_GAVE_UP, EXIT_REPORTED, ExecutionSpec, Exit
from worker.agent.gate import Gate, Turn
from worker.agent.loop import Worker
from worker.agent.watchdog import StallDetector

CRASH = 9


class Pretended:
    """An execution without a process: a test ends it, and it asks for slices like a child."""

    def __init__(self, client: BothClient, spec: ExecutionSpec, turn: Turn) -> None:
        self.spec = spec
        self.turn = turn
        self.granted = threading.Event()
        self.asked: list[str] = []
        self.updates = 0
        self.deaf = False
        self._client = client
        self._code: int | None = None
        self._ended = threading.Event()

    @property
    def run_id(self) -> str:
        """The run."""
        return self.spec.claim.run.id

    def ask(self) -> None:
        """Ask for the next slice."""
        self.granted.clear()
        self.turn.ask(self.updates, 0.0, self.granted.set)

    def end(self, status: RunStatus | None) -> None:
        """Report the end and exit; None: crash."""
        if status is not None:
            self._client.finish(self.run_id, self.spec.claim.claim_number, status)
        self._exit(CRASH if status is None else EXIT_REPORTED)

    def _exit(self, code: int) -> None:
        if not self._ended.is_set():
            self._code = code
            self._ended.set()

    def wait(self, seconds: float) -> Exit | None:
        """Wait for the end."""
        return Exit(self._code or 0, f"exit code {self._code}", "") if self._ended.wait(seconds) else None

    def cancel(self) -> None:
        """End as cancelled."""
        self.asked.append("cancel")
        self.end(RunStatus.CANCELLED)

    def pause(self) -> None:
        """End as paused."""
        self.asked.append("pause")
        self.end(RunStatus.PAUSED)

    def stop(self) -> None:
        """Hand the run back, unless the test wants it not to react."""
        self.asked.append("stop")
        if not self.deaf:
            self.end(RunStatus.QUEUED)

    def progress(self) -> float | None:
        """Return the number of updates."""
        return self.updates or None

    def interrupt(self) -> None:
        """Note it."""
        self.asked.append("SIGTERM")

    def abandon(self) -> None:
        """Exit without a report."""
        self.asked.append("abandon")
        self._exit(EXIT_GAVE_UP)

    def kill(self) -> None:
        """Exit at once."""
        self.asked.append("SIGKILL")
        self._exit(CRASH)


class Stage:
    """A backend, and a worker whose loop a thread runs."""

    def __init__(
        self, client: BothClient, settings: Settings, *, cores: int = 1, devices: tuple[str, ...] = ()
    ) -> None:
        self.client = client
        self.started: list[Pretended] = []
        self.queue: list[str] = []
        self.stopped = threading.Event()
        info = WorkerInfo(name="test", device="cpu", devices=list(devices), threads=1, slots=settings.slots)
        self._thread = threading.Thread(
            target=Worker(
                client, self, info=info, catalog=registry().catalog(), settings=settings, stopped=self.stopped,
                gate=Gate(cores),
            ).loop
        )  # fmt: skip
        self._thread.start()

    def start(self, spec: ExecutionSpec, turn: Turn) -> Pretended:
        """Start an execution, as an executor."""
        if spec.claim.run.config.seed == 13:
            raise OSError("no process")
        self.started.append(Pretended(self.client, spec, turn))
        return self.started[-1]

    def launch(self, count: int, **changes: Any) -> list[str]:
        """Queue runs that differ by their seeds."""
        wait_until(lambda: self.client.catalog().catalog, "the worker registers")
        shared = small_run(Adam()).model_dump(exclude={"optimizer", "seed"})
        spec = {"optimizers": [Adam(gradient_batch=30)], "seeds": list(range(count))} | changes
        runs = [run.id for run in self.client.launch(ExperimentSpec.model_validate(shared | spec)).runs]
        self.queue += runs
        return runs

    def hold(self, count: int) -> list[Pretended]:
        """Wait until so many executions have been started; return all, in the order of the queue."""
        wait_until(lambda: len(self.started) >= count, f"{count} executions")
        return sorted(self.started, key=lambda execution: self.queue.index(execution.run_id))

    def status(self, run_id: str) -> RunStatus:
        """Return a run's status."""
        return self.client.run(run_id).status

    def close(self) -> None:
        """Stop the worker."""
        self.stopped.set()
        self._thread.join()


Begin = Callable[..., Stage]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Start a backend; give what starts a worker, which is stopped at the end."""
    settings = Settings(home=tmp_path, heartbeat_seconds=0.05, lease_seconds=60, slots=3)
    stages: list[Stage] = []
    with backend(settings) as http:

        def start(*, changed: dict[str, Any] | None = None, **how: Any) -> Stage:
            stages.append(Stage(BothClient(http=http), settings.model_copy(update=changed or {}), **how))
            return stages[-1]

        yield start
        for stage in stages:
            stage.close()


def test_a_worker_holds_as_many_runs_as_it_has_slots(begin: Begin) -> None:
    """When one ends, the next one is claimed; the others are not disturbed."""
    stage = begin()
    runs = stage.launch(5)
    held = stage.hold(3)
    assert [execution.run_id for execution in held] == runs[:3]
    assert [stage.status(run) for run in runs].count(RunStatus.RUNNING) == 3
    held[1].end(RunStatus.FINISHED)
    assert [execution.run_id for execution in stage.hold(4)] == runs[:4]
    assert held[0].asked == held[2].asked == []


def test_each_run_is_cancelled_and_paused_by_itself(begin: Begin) -> None:
    """Requests reach the run that is meant, and the others go on."""
    stage = begin()
    cancelled, paused, other = stage.launch(3)
    held = stage.hold(3)
    stage.client.cancel(cancelled)
    stage.client.pause(paused)
    wait_until(lambda: stage.status(cancelled) is RunStatus.CANCELLED)
    wait_until(lambda: stage.status(paused) is RunStatus.PAUSED)
    assert stage.status(other) is RunStatus.RUNNING
    assert [execution.asked for execution in held] == [["cancel"], ["pause"], []]
    stage.client.resume(paused)
    stage.hold(4)
    assert stage.started[3].run_id == paused


def test_a_crash_fails_one_run(begin: Begin) -> None:
    """A run whose process crashes, or cannot start, fails; its slot is free, and the others go on."""
    stage = begin()
    runs = stage.launch(4, seeds=[0, 13, 1, 2])
    held = stage.hold(3)
    held[0].end(None)
    wait_until(lambda: stage.status(runs[0]) is RunStatus.FAILED)
    wait_until(lambda: stage.status(runs[1]) is RunStatus.FAILED)
    assert [stage.status(run) for run in runs[2:]] == [RunStatus.RUNNING] * 2


def test_a_stop_hands_every_run_back(begin: Begin) -> None:
    """When the worker stops, each execution is asked to, and its run is queued again without a lease."""
    stage = begin()
    runs = stage.launch(3)
    stage.hold(3)
    stage.close()
    assert [execution.asked for execution in stage.started] == [["stop"]] * 3
    assert [stage.status(run) for run in runs] == [RunStatus.QUEUED] * 3


def test_a_killed_execution_is_handed_back_by_its_worker(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution that does not react to a stop is interrupted, then killed; its run is queued again all the same."""
    monkeypatch.setattr(loop, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(loop, "STOP_KILL_SECONDS", 0.4)
    stage = begin()
    (run,) = stage.launch(1)
    stage.hold(1)
    stage.started[0].deaf = True
    stage.close()
    assert stage.started[0].asked == ["stop", "SIGTERM", "SIGKILL"]
    assert stage.status(run) is RunStatus.QUEUED


def test_runs_train_in_turns(begin: Begin) -> None:
    """On one core one run trains at a time; one that crashes within its slice frees the core."""
    stage = begin(cores=1)
    stage.launch(3)
    held = stage.hold(3)
    for execution in held:
        execution.ask()
    (first,) = (execution for execution in held if execution.granted.is_set())
    first.updates = 5
    first.ask()
    (second,) = (execution for execution in held if execution.granted.is_set())
    second.end(None)
    (third,) = set(held) - {first, second}
    assert third.granted.wait(60)
    assert not first.granted.is_set()


def test_a_dead_run_holds_no_slice_while_its_end_is_reported(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other runs train while the worker waits for the backend, to report that a process was killed."""
    reachable = threading.Event()
    stage = begin(cores=1)
    stage.launch(2)
    held = stage.hold(2)
    for execution in held:
        execution.ask()
    (first,) = (execution for execution in held if execution.granted.is_set())
    (second,) = set(held) - {first}
    monkeypatch.setattr(Worker, "_deliver", lambda _: reachable.wait(60))
    first.end(None)
    assert second.granted.wait(60)
    assert stage.status(first.run_id) is RunStatus.RUNNING
    reachable.set()


def test_a_run_that_waits_for_its_slice_has_not_stalled(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runs without updates only the one that trains is ended as stalled."""
    counting = threading.Event()
    silent: dict[str, float] = {}
    found: list[dict[str, float]] = []

    def check(detector: StallDetector, passed: float) -> str:
        run_id = detector._execution.spec.claim.run.id  # type: ignore[attr-defined]
        if counting.is_set():
            silent[run_id] = silent.get(run_id, 0) + passed
        if found or silent.get(run_id, 0) < 0.5:
            return ""
        found.append(dict(silent))
        return "it stalled"

    monkeypatch.setattr(StallDetector, "check", check)
    stage = begin(cores=1)
    stage.launch(2)
    held = stage.hold(2)
    for execution in held:
        execution.ask()
    stalled, waiting = sorted(held, key=lambda execution: not execution.granted.is_set())
    counting.set()
    wait_until(lambda: stage.status(stalled.run_id) is RunStatus.FAILED)
    assert found[0].get(waiting.run_id, 0) == 0
    assert waiting.granted.wait(60)
    assert stage.status(waiting.run_id) is RunStatus.RUNNING


def test_a_sequence_has_one_run_at_a_time(begin: Begin) -> None:
    """With free slots, too, the second run starts after the end of the first."""
    stage = begin()
    first, second = stage.launch(2, schedule="sequential")
    other = stage.launch(1)
    held = stage.hold(2)
    assert {execution.run_id for execution in held} == {first, *other}
    held[0].end(RunStatus.FINISHED)
    stage.hold(3)
    assert stage.started[2].run_id == second


def test_runs_are_spread_over_the_gpus(begin: Begin) -> None:
    """Runs with `auto` train on the GPU that has the fewest; one that names its GPU trains there."""
    stage = begin(devices=("cpu", "cuda:0", "cuda:1"))
    stage.launch(1, device="cuda:0")
    stage.hold(1)
    stage.launch(1)
    stage.launch(1, device="cpu")
    assert [execution.spec.device for execution in stage.hold(3)] == ["cuda:0", "cuda:1", "cpu"]
