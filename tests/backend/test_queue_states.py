"""A model of the queue, driven at random against the real one: whatever happens, they agree."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.errors import Conflict, InvalidInput, LeaseLost
from backend.schemas import Adam, Announcement, Append, Finish, HeartbeatAnswer, RunStatus, Start
from backend.settings import Settings
from backend.store import Store
from tests.backend.samples import INFO, Clock, catalog, checkpoint, spec, updates

LEASE = 30.0
MAX_ATTEMPTS = 3
AGE = st.sampled_from([0, 0, 0, 0, 1, -1])  # how much older than the run's token a writer's is
PICK = st.tuples(st.booleans(), st.integers(0, 30))


@dataclass
class Expected:
    """A run as it should be."""

    id: str
    status: RunStatus = RunStatus.QUEUED
    cancel: bool = False
    pause: bool = False
    priority: int = 0
    kept: int = 0
    begun: int = 0
    edition: int = 0
    token: int = 0
    lease_until: float = 0
    rows: int = 0
    furthest: int = 0
    stalled: int = 0

    def held(self, token: int) -> bool:
        """Tell whether this token may write."""
        return self.status is RunStatus.RUNNING and self.token == token

    def end(self, status: RunStatus) -> None:
        """Take the run from its worker."""
        self.status, self.pause = status, False

    def rewind(self, to: int) -> None:
        """Drop the rows above."""
        self.rows, self.edition = to, self.edition + 1


@dataclass
class Model:
    """The queue as it should be."""

    clock: Clock
    runs: list[Expected] = field(default_factory=list)

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
                run.status = RunStatus.FAILED

    def claim(self) -> Expected | None:
        """Give away the first run in line that waits or is lost."""
        self.sweep()
        waiting = [run for run in self.runs if run.status is RunStatus.QUEUED or self.lost(run)]
        run = max(waiting, key=lambda run: run.priority, default=None)
        if run is not None:
            run.stalled = 1 if run.rows > run.furthest else run.stalled + 1
            run.furthest = max(run.furthest, run.rows)
            run.status, run.token = RunStatus.RUNNING, run.token + 1
            if not run.kept:
                run.rewind(0)
            run.lease_until = self.clock.now + LEASE
        return run


class Queueing(RuleBasedStateMachine):
    """Workers with good and stale tokens, users who launch, cancel, pause and retry, and a clock that jumps."""

    @initialize()
    def open(self) -> None:
        """Start with a worker that has one of two runs."""
        self.folder = tempfile.TemporaryDirectory()
        chosen = Settings(home=Path(self.folder.name), lease_seconds=LEASE, max_attempts=MAX_ATTEMPTS)
        self.model = Model(Clock())
        self.store = Store(chosen, clock=self.model.clock)
        self.worker = self.store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
        self.launch(2)
        self.claim()

    def teardown(self) -> None:
        """Close the database."""
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def pick(self, pick: tuple[bool, int]) -> Expected:
        """Choose one of the runs, or of those that are running."""
        only_running, number = pick
        running = [run for run in self.model.runs if run.status is RunStatus.RUNNING]
        runs = running if only_running and running else self.model.runs
        return runs[number % len(runs)]

    def has_runs(self) -> bool:
        """Tell whether there is anything to choose from."""
        return bool(self.model.runs)

    @rule(count=st.integers(1, 2))
    def launch(self, count: int) -> None:
        """A user queues one or two runs."""
        made = self.store.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(count))))
        self.model.runs += [Expected(run.id) for run in made.runs]

    @rule()
    def claim(self) -> None:
        """A worker asks for a run."""
        claim, run = self.store.queue.claim(self.worker), self.model.claim()
        assert (claim and (claim.run.id, claim.token)) == (run and (run.id, run.token))

    @rule()
    def take_over(self) -> None:
        """Every worker is lost, and another one asks for a run."""
        self.model.clock.now += LEASE + 1
        self.claim()

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
    @rule(which=PICK, age=AGE)
    def heartbeat(self, which: tuple[bool, int], age: int) -> None:
        """A worker says that it lives, and hears what is asked."""
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

    @precondition(has_runs)
    @rule(which=PICK, age=AGE, status=st.sampled_from([RunStatus.FINISHED, RunStatus.CANCELLED, RunStatus.PAUSED]))
    def finish(self, which: tuple[bool, int], age: int, status: RunStatus) -> None:
        """A worker ends a run, perhaps again."""
        run = self.pick(which)
        token = max(1, run.token - age)
        body = Finish.model_validate({"token": token, "status": status})
        if run.held(token):
            self.store.queue.finish(run.id, body)
            if status is RunStatus.PAUSED and not run.pause:
                status = RunStatus.CANCELLED if run.cancel else RunStatus.QUEUED
            run.end(status)
            run.kept = 0 if status is RunStatus.FINISHED else run.kept
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
            run.status, run.stalled = RunStatus.QUEUED, 0
        run.pause = False
        self.store.queue.resume(run.id)

    @precondition(has_runs)
    @rule(which=PICK)
    def retry(self, which: tuple[bool, int]) -> None:
        """A user queues a run again that failed or was cancelled."""
        run = self.pick(which)
        if run.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            run.end(RunStatus.QUEUED)
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

    @invariant()
    def agree(self) -> None:
        """Status, requests, checkpoint and rows are as the model has them; each update stands there exactly once."""
        if not self.has_runs():
            return
        found = {run.id: run for run in self.store.runs.list(limit=1000)}
        rows = self.store.metrics.series([run.id for run in self.model.runs], fields=["samples"], blocks=True)
        for run in self.model.runs:
            kept = found[run.id]
            assert (kept.status, kept.cancel_requested, kept.attempts) == (run.status, run.cancel, run.token)
            assert kept.pause_requested is run.pause
            assert (kept.checkpoint.update if kept.checkpoint else 0) == run.kept <= run.rows
            assert rows[run.id]["attempt"] == run.edition
            assert kept.summary.updates == run.rows
            assert kept.summary.seconds == run.rows * 0.5
            assert kept.summary.best_test_loss == (95.0 / run.rows if run.rows else None)
            numbers = list(range(1, run.rows + 1))
            assert rows[run.id]["update"] == numbers
            assert rows[run.id]["samples"] == [10 * n for n in numbers]
            assert [block["cg_iterations"] for block in rows[run.id]["blocks"]] == (
                [numbers, [n + 1 for n in numbers]] if numbers else []
            )


Queueing.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_the_queue_agrees_with_its_model = Queueing.TestCase
