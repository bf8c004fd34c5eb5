"""A model of the queue, and a machine that drives it at random beside the real one: whatever happens, they agree."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, event

from backend.errors import Conflict, InvalidInput, LeaseLost
from backend.schemas import Adam, Announcement, Append, Checkpoint, Finish, HeartbeatAnswer, RunError, RunStatus, Start
from backend.settings import Settings
from backend.store import Store
from backend.tables import EXPERIMENTS
from tests.backend.samples import INFO, Clock, catalog, checkpoint, spec, updates

LEASE = 30.0
MAX_ATTEMPTS = 3
AGE = st.sampled_from([0, 0, 0, 1, 1, -1])  # how much older than the run's token a writer's is
PICK = st.tuples(st.booleans(), st.integers(0, 30))
ENDS = (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED)
_WHOLE_EVERY = 25
PLAYS = settings(max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Kept(NamedTuple):
    """A run as its row has it."""

    number: int
    id: str
    status: str
    cancel_requested: bool
    pause_requested: bool
    priority: int
    token: int
    attempts: int
    stalled: int
    furthest: int
    begun: int
    edition: int
    checkpoint: str | None
    weights: str | None
    worker: str | None
    ended_by: str
    lease_until: float | None
    updates: int
    seconds: float
    best_test_loss: float | None


_RUNS = f"SELECT {', '.join(Kept._fields)} FROM runs"
_UPDATES = 'SELECT run, "update", samples FROM updates ORDER BY 1, 2'
_BLOCKS = 'SELECT run, "update", block, cg_iterations FROM blocks ORDER BY 1, 2, 3'


@dataclass
class Stage:
    """A database that the plays of the machine share, each beginning without runs.

    Opening one takes a hundred times longer than emptying it, and nobody cuts the power here: what is written need not
    reach the disk.
    """

    store: Store
    clock: Clock
    workers: list[str]

    def clear(self) -> None:
        """Remove every run."""
        with self.store.database.write() as connection:
            connection.execute(delete(EXPERIMENTS))


@contextmanager
def stage(chosen: Settings) -> Iterator[Stage]:
    """Open a database for the machine."""
    clock = Clock()
    store = Store(chosen.model_copy(update={"lease_seconds": LEASE, "max_attempts": MAX_ATTEMPTS}), clock=clock)
    if store.database.sqlite:
        store.database.engine.dispose()
        event.listen(
            store.database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
        )
    announced = Announcement(info=INFO, catalog=catalog())
    yield Stage(store, clock, [store.workers.register(announced).worker_id for _ in range(2)])
    store.close()


@dataclass
class Expected:
    """A run as it should be."""

    id: str
    experiment: str
    status: RunStatus = RunStatus.QUEUED
    cancel: bool = False
    pause: bool = False
    priority: int = 0
    kept: int = 0
    begun: int = 0
    edition: int = 0
    token: int = 0
    worker: str | None = None
    weights: str | None = None
    ended_by: str = ""
    lease_until: float = 0
    rows: int = 0
    furthest: int = 0
    stalled: int = 0

    def held(self, token: int) -> bool:
        """Tell whether this token may write."""
        return self.status is RunStatus.RUNNING and self.token == token

    def end(self, status: RunStatus, ended_by: str | None = None) -> None:
        """Take the run from its worker."""
        self.status, self.pause = status, False
        self.ended_by = status.value if ended_by is None else ended_by

    def rewind(self, to: int) -> None:
        """Drop the rows above."""
        self.rows, self.edition = to, self.edition + 1


@dataclass
class Model:
    """The queue as it should be."""

    clock: Clock
    runs: list[Expected] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)

    def lost(self, run: Expected) -> bool:
        """Tell whether the lease has run out."""
        return run.status is RunStatus.RUNNING and run.lease_until < self.clock.now

    def sweep(self) -> None:
        """End what nobody may claim."""
        for run in filter(self.lost, self.runs):
            if run.cancel:
                run.end(RunStatus.CANCELLED)
            elif run.pause:
                run.end(RunStatus.PAUSED)
            elif run.stalled >= MAX_ATTEMPTS and run.rows <= run.furthest:
                run.end(RunStatus.FAILED, "attempts")

    def claim(self, worker: str) -> Expected | None:
        """Give away the first run in line that waits or is lost."""
        self.sweep()
        waiting = [run for run in self.runs if run.status is RunStatus.QUEUED or self.lost(run)]
        run = max(waiting, key=lambda run: run.priority, default=None)
        if run is not None:
            run.stalled = 1 if run.rows > run.furthest else run.stalled + 1
            run.furthest = max(run.furthest, run.rows)
            run.status, run.token, run.worker = RunStatus.RUNNING, run.token + 1, worker
            if not run.kept:
                run.rewind(0)
            run.lease_until = self.clock.now + LEASE
        return run


class Queueing(RuleBasedStateMachine):
    """Workers with good and stale tokens, users who launch, cancel, pause and retry, and a clock that jumps."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.store, self.model = self.stage.store, Model(self.stage.clock)
        self.steps = 0
        self.stage.clear()

    @initialize(taken=st.booleans(), trained=st.integers(0, 3), saved=st.integers(0, 3))
    def open(self, taken: bool, trained: int, saved: int) -> None:
        """Start with a worker that has one of two runs, with some updates, which another one may have lost."""
        self.launch(2)
        self.claim(0)
        if trained:
            self.train(0, trained, saved)
        if taken:
            self.take_over()

    def teardown(self) -> None:
        """Look at everything once more."""
        self.agree_in_words()

    def pick(self, pick: tuple[bool, int]) -> Expected:
        """Choose one of the runs, or of those that are running."""
        only_running, number = pick
        running = [run for run in self.model.runs if run.status is RunStatus.RUNNING]
        runs = running if only_running and running else self.model.runs
        return runs[number % len(runs)]

    def has_runs(self) -> bool:
        """Tell whether there is anything to choose from."""
        return bool(self.model.runs)

    def has_running(self) -> bool:
        """Tell whether a worker has a run."""
        return any(run.status is RunStatus.RUNNING for run in self.model.runs)

    @rule(count=st.integers(1, 2))
    def launch(self, count: int) -> None:
        """A user queues one or two runs."""
        made = self.store.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(count))))
        self.model.runs += [Expected(run.id, made.id) for run in made.runs]

    @rule(which=st.integers(0, 1))
    def claim(self, which: int) -> None:
        """A worker asks for a run; where all have ended, a user has launched another one."""
        if all(run.status.final for run in self.model.runs):
            self.launch(1)
        worker = self.stage.workers[which]
        claim, run = self.store.queue.claim(worker), self.model.claim(worker)
        assert (claim and (claim.run.id, claim.token)) == (run and (run.id, run.token))

    @rule()
    def take_over(self) -> None:
        """Every worker is lost, and another one asks for a run."""
        self.model.clock.now += LEASE + 1
        self.claim(1)

    @rule(seconds=st.sampled_from([1.0, LEASE, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        """Time passes, and may end leases."""
        self.model.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        """The backend looks after lost runs."""
        self.store.queue.sweep()
        self.model.sweep()

    @precondition(has_runs)
    @rule(which=PICK, age=AGE, later=st.sampled_from([0.0, 1.0]))
    def heartbeat(self, which: tuple[bool, int], age: int, later: float) -> None:
        """A worker says that it lives, perhaps a moment later, and hears what is asked."""
        self.model.clock.now += later
        run = self.pick(which)
        token = max(1, run.token - age)
        if run.held(token):
            assert self.store.queue.heartbeat(run.id, token) == HeartbeatAnswer(cancel=run.cancel, pause=run.pause)
            run.lease_until = self.model.clock.now + LEASE
        else:
            with pytest.raises(LeaseLost):
                self.store.queue.heartbeat(run.id, token)

    @rule()
    def restart(self) -> None:
        """The backend comes back, and gives every worker a lease's time to be heard of."""
        self.store.queue.forgive()
        for run in self.model.runs:
            if run.status is RunStatus.RUNNING:
                run.lease_until = max(run.lease_until, self.model.clock.now + LEASE)

    @precondition(has_runs)
    @rule(which=PICK, age=AGE, at_hand=st.booleans())
    def start(self, which: tuple[bool, int], age: int, at_hand: bool) -> None:
        """A worker begins, from the checkpoint if it has the file, or says again that it began."""
        run = self.pick(which)
        token = max(1, run.token - age)
        origin = run.kept if at_hand else 0
        body = Start(token=token, environment={}, blocks=[], parameters=1, resumed_from=origin)
        if not run.held(token):
            with pytest.raises(LeaseLost):
                self.store.queue.start(run.id, body)
            return
        self.store.queue.start(run.id, body)
        run.lease_until = self.model.clock.now + LEASE
        if run.begun < token:
            run.begun = token
            run.kept = origin
            if origin < run.rows:
                run.rewind(origin)

    @precondition(has_runs)
    @rule(which=PICK, age=AGE, replayed=st.integers(0, 3), count=st.integers(1, 3), saved=st.integers(-1, 3))
    def append(self, which: tuple[bool, int], age: int, replayed: int, count: int, saved: int) -> None:
        """A worker reports new updates, with some that are stored already, and perhaps a checkpoint."""
        run = self.pick(which)
        token = max(1, run.token - age)
        first, last = max(1, run.rows + 1 - replayed), run.rows + count
        named = None if last - saved < 1 or saved == 3 else checkpoint(last - saved)
        body = Append(token=token, rows=updates(first, last), checkpoint=named)
        if run.held(token) and named and named.update > last:
            with pytest.raises(InvalidInput):
                self.store.metrics.append(run.id, body)
        elif run.held(token):
            assert self.store.metrics.append(run.id, body) == last
            run.rows, run.lease_until, run.begun = last, self.model.clock.now + LEASE, token
            run.kept = named.update if named else run.kept
        else:
            with pytest.raises(LeaseLost):
                self.store.metrics.append(run.id, body)

    @precondition(has_running)
    @rule(number=st.integers(0, 30), count=st.integers(1, 3), saved=st.integers(0, 3))
    def train(self, number: int, count: int, saved: int) -> None:
        """The worker that has a run goes on: without rows the other rules have little to lose."""
        self.append((True, number), 0, 0, count, saved)

    @precondition(has_runs)
    @rule(which=PICK, age=AGE, status=st.sampled_from(ENDS), word=st.sampled_from("ab"))
    def finish(self, which: tuple[bool, int], age: int, status: RunStatus, word: str) -> None:
        """A worker ends a run, perhaps again."""
        run = self.pick(which)
        token = max(1, run.token - age)
        error = RunError(message=word) if status is RunStatus.FAILED else None
        body = Finish(token=token, status=status, ended_by=word, weights=word * 64, error=error)
        if run.held(token):
            self.store.queue.finish(run.id, body)
            if status is RunStatus.PAUSED and not run.pause:
                status = RunStatus.CANCELLED if run.cancel else RunStatus.QUEUED
            run.end(status, word)
            run.kept = 0 if status is RunStatus.FINISHED else run.kept
            run.weights = word * 64
        elif run.status is status and run.token == token:
            self.store.queue.finish(run.id, body)
        else:
            with pytest.raises(LeaseLost):
                self.store.queue.finish(run.id, body)

    @precondition(has_runs)
    @rule(which=PICK)
    def cancel(self, which: tuple[bool, int]) -> None:
        """A user cancels a run."""
        run = self.pick(which)
        if run.status in {RunStatus.FINISHED, RunStatus.FAILED}:
            with pytest.raises(Conflict):
                self.store.queue.cancel(run.id)
            return
        run.cancel = run.cancel or run.status is not RunStatus.CANCELLED
        if run.status in {RunStatus.QUEUED, RunStatus.PAUSED} or self.model.lost(run):
            run.end(RunStatus.CANCELLED)
        self.store.queue.cancel(run.id)

    @precondition(has_runs)
    @rule(which=PICK)
    def pause(self, which: tuple[bool, int]) -> None:
        """A user pauses a run."""
        run = self.pick(which)
        if run.status.final:
            with pytest.raises(Conflict):
                self.store.queue.pause(run.id)
            return
        if run.status is RunStatus.QUEUED or self.model.lost(run):
            run.end(RunStatus.PAUSED)
        elif run.status is RunStatus.RUNNING:
            run.pause = True
        self.store.queue.pause(run.id)

    @precondition(has_runs)
    @rule(which=PICK)
    def resume(self, which: tuple[bool, int]) -> None:
        """A user lets a run go on, or takes a pause back."""
        run = self.pick(which)
        if run.status.final:
            with pytest.raises(Conflict):
                self.store.queue.resume(run.id)
            return
        if run.status is RunStatus.PAUSED:
            run.end(RunStatus.QUEUED, "")
            run.stalled = 0
        run.pause = False
        self.store.queue.resume(run.id)

    @precondition(has_runs)
    @rule(which=PICK)
    def retry(self, which: tuple[bool, int]) -> None:
        """A user queues a run again that failed or was cancelled."""
        run = self.pick(which)
        if run.experiment in self.model.deleted:
            with pytest.raises(Conflict):
                self.store.queue.retry(run.id)
            return
        if run.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            run.end(RunStatus.QUEUED, "")
            run.cancel, run.stalled, run.furthest = False, 0, 0
        elif run.status is not RunStatus.QUEUED:
            with pytest.raises(Conflict):
                self.store.queue.retry(run.id)
            return
        self.store.queue.retry(run.id)

    @precondition(has_runs)
    @rule(which=PICK, priority=st.integers(-1, 1))
    def prioritize(self, which: tuple[bool, int], priority: int) -> None:
        """A user moves a run in line."""
        run = self.pick(which)
        if run.status.final:
            with pytest.raises(Conflict):
                self.store.queue.prioritize(run.id, priority)
            return
        run.priority = priority
        self.store.queue.prioritize(run.id, priority)

    @precondition(has_runs)
    @rule(which=PICK, sure=st.sampled_from([True, False, False, False]))
    def delete(self, which: tuple[bool, int], sure: bool) -> None:
        """A user deletes a comparison, perhaps again; seldom, for what follows has little left to happen to."""
        if not sure:
            return
        experiment = self.pick(which).experiment
        self.store.experiments.delete(experiment)
        self.model.deleted.add(experiment)
        for run in (run for run in self.model.runs if run.experiment == experiment and not run.status.final):
            run.cancel, run.pause = True, False
            if run.status is not RunStatus.RUNNING or self.model.lost(run):
                run.end(RunStatus.CANCELLED, "deleted")

    @precondition(has_runs)
    @rule(which=PICK)
    def restore(self, which: tuple[bool, int]) -> None:
        """A user takes that back; what was cancelled stays so."""
        experiment = self.pick(which).experiment
        self.store.experiments.restore(experiment)
        self.model.deleted.discard(experiment)

    @invariant()
    def agree(self) -> None:
        """The tables are as the model has them: each run, and each of its updates exactly once."""
        runs, rows, blocks = self._tables()
        assert set(runs) == {run.id for run in self.model.runs}
        for run in self.model.runs:
            kept = runs[run.id]
            assert (kept.status, kept.cancel_requested, kept.pause_requested) == (run.status, run.cancel, run.pause)
            assert (kept.token, kept.attempts, kept.worker) == (run.token, run.token, run.worker)
            assert (kept.priority, kept.edition, kept.weights) == (run.priority, run.edition, run.weights)
            assert (kept.stalled, kept.furthest, kept.begun) == (run.stalled, run.furthest, run.begun)
            assert kept.ended_by == run.ended_by
            assert kept.lease_until == (run.lease_until if run.status is RunStatus.RUNNING else None)
            named = Checkpoint.model_validate_json(kept.checkpoint).update if kept.checkpoint else 0
            assert named == run.kept <= run.rows
            assert (kept.updates, kept.seconds) == (run.rows, run.rows * 0.5)
            assert kept.best_test_loss == (95.0 / run.rows if run.rows else None)
            numbers = range(1, run.rows + 1)
            assert rows[kept.number] == [(n, 10 * n) for n in numbers]
            assert blocks[kept.number] == [(n, b, n + b) for n in numbers for b in (0, 1)]

    def _tables(self) -> tuple[dict[str, "Kept"], dict[int, list[Any]], dict[int, list[Any]]]:
        """Read runs by id, updates and blocks by run; as plain text, since this is done after every step."""
        rows: dict[int, list[Any]] = defaultdict(list)
        blocks: dict[int, list[Any]] = defaultdict(list)
        with self.store.database.read() as connection:
            runs = [Kept(*values) for values in connection.exec_driver_sql(_RUNS)]
            for run, *values in connection.exec_driver_sql(_UPDATES):
                rows[run].append(tuple(values))
            for run, *values in connection.exec_driver_sql(_BLOCKS):
                blocks[run].append(tuple(values))
        return {run.id: run for run in runs}, rows, blocks

    @invariant()
    def agree_now_and_then(self) -> None:
        """What users are told is read less often: it takes longer."""
        self.steps += 1
        if self.steps % _WHOLE_EVERY == 0:
            self.agree_in_words()

    def agree_in_words(self) -> None:
        """What users are told is what the tables hold."""
        if not self.has_runs():
            return
        found = {run.id: run for run in self.store.runs.list(limit=1000)}
        shown = {run.id for run in self.model.runs if run.experiment not in self.model.deleted or run.id in found}
        assert set(found) == shown
        rows = self.store.metrics.series([run.id for run in self.model.runs], fields=["samples"], blocks=True)
        for run in self.model.runs:
            told = found.get(run.id) or self.store.runs.get(run.id)
            assert (told.status, told.cancel_requested, told.attempts) == (run.status, run.cancel, run.token)
            assert (told.checkpoint.update if told.checkpoint else 0) == run.kept
            assert (told.summary.updates, rows[run.id]["attempt"]) == (run.rows, run.edition)
            assert rows[run.id]["update"] == list(range(1, run.rows + 1))


def play(scene: Stage, plays: settings = PLAYS) -> int:
    """Let hypothesis play; return how many plays it took. Raises what the first play that failed did."""
    count = 0

    class Play(Queueing):
        stage = scene

        def __init__(self) -> None:
            nonlocal count
            count += 1
            super().__init__()

    run_state_machine_as_test(Play, settings=plays)
    return count
