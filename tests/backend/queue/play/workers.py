"""What workers do, with good and stale tokens, and what befalls them: lost leases, a backend that restarts."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from backend.errors import InvalidInput, LeaseLost
from backend.schemas.api import Append, Finish, HeartbeatAnswer, Start
from backend.schemas.runs import RunError, RunStatus
from tests.backend.queue.play.agreement import PICK
from tests.backend.queue.play.model import LEASE
from tests.backend.queue.play.users import Users
from tests.backend.samples import checkpoint, updates

AGE = st.sampled_from([0, 0, 0, 1, 1, -1])  # how much older than the run's claim number a writer's is
ENDS = (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED)


class Workers(Users):
    """Workers who claim, report and end runs, and a clock that jumps."""

    @rule(which=st.integers(0, 1))
    def claim(self, which: int) -> None:
        """A worker claims a run; if all have ended, a user launches another one first."""
        if all(run.status.final for run in self.model.runs):
            self.launch(1)
        worker = self.stage.workers[which]
        claim, run = self.services.queue.claim(worker), self.model.claim(worker)
        assert (claim and (claim.run.id, claim.claim_number)) == (run and (run.id, run.claim_number))

    @rule()
    def take_over(self) -> None:
        """Every worker is lost, and another one claims a run."""
        self.model.clock.now += LEASE + 1
        self.claim(1)

    @rule(seconds=st.sampled_from([1.0, LEASE, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        """Time passes, and may end leases."""
        self.model.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        """The backend looks after lost runs."""
        self.services.queue.sweep()
        self.model.sweep()

    @precondition(Users.has_runs)
    @rule(which=PICK, age=AGE, later=st.sampled_from([0.0, 1.0]))
    def heartbeat(self, which: tuple[bool, int], age: int, later: float) -> None:
        """A worker sends a heartbeat, possibly late, and receives the user's requests."""
        self.model.clock.now += later
        run = self.pick(which)
        claim_number = max(1, run.claim_number - age)
        if run.held(claim_number):
            assert self.services.queue.heartbeat(run.id, claim_number) == HeartbeatAnswer(
                cancel=run.cancel, pause=run.pause
            )
            run.lease_until = self.model.clock.now + LEASE
        else:
            with pytest.raises(LeaseLost):
                self.services.queue.heartbeat(run.id, claim_number)

    @rule()
    def restart(self) -> None:
        """The backend restarts and renews all leases."""
        self.services.queue.renew_all_leases()
        for run in self.model.runs:
            if run.status is RunStatus.RUNNING:
                run.lease_until = max(run.lease_until, self.model.clock.now + LEASE)

    @precondition(Users.has_runs)
    @rule(which=PICK, age=AGE, at_hand=st.booleans())
    def start(self, which: tuple[bool, int], age: int, at_hand: bool) -> None:
        """A worker starts from the checkpoint, if it has the file, or repeats the report of its start."""
        run = self.pick(which)
        claim_number = max(1, run.claim_number - age)
        origin = run.kept if at_hand else 0
        body = Start(claim_number=claim_number, environment={}, blocks=[], parameters=1, resumed_from=origin)
        if not run.held(claim_number):
            with pytest.raises(LeaseLost):
                self.services.queue.start(run.id, body)
            return
        self.services.queue.start(run.id, body)
        run.lease_until = self.model.clock.now + LEASE
        if run.started_claim < claim_number:
            run.started_claim = claim_number
            run.kept = origin
            if origin < run.rows:
                run.roll_back(origin)

    @precondition(Users.has_runs)
    @rule(which=PICK, age=AGE, replayed=st.integers(0, 3), count=st.integers(1, 3), saved=st.integers(-1, 3))
    def append(self, which: tuple[bool, int], age: int, replayed: int, count: int, saved: int) -> None:
        """A worker reports new updates, with some that are stored already, and perhaps a checkpoint."""
        run = self.pick(which)
        claim_number = max(1, run.claim_number - age)
        first, last = max(1, run.rows + 1 - replayed), run.rows + count
        named = None if last - saved < 1 or saved == 3 else checkpoint(last - saved)
        body = Append(claim_number=claim_number, rows=updates(first, last), checkpoint=named)
        if run.held(claim_number) and named and named.update > last:
            with pytest.raises(InvalidInput):
                self.services.metrics.append(run.id, body)
        elif run.held(claim_number):
            assert self.services.metrics.append(run.id, body) == last
            run.rows, run.lease_until, run.started_claim = last, self.model.clock.now + LEASE, claim_number
            run.kept = named.update if named else run.kept
        else:
            with pytest.raises(LeaseLost):
                self.services.metrics.append(run.id, body)

    @precondition(Users.has_running)
    @rule(number=st.integers(0, 30), count=st.integers(1, 3), saved=st.integers(0, 3))
    def train(self, number: int, count: int, saved: int) -> None:
        """A worker appends rows: without rows the other rules have little effect."""
        self.append((True, number), 0, 0, count, saved)

    @precondition(Users.has_runs)
    @rule(which=PICK, age=AGE, status=st.sampled_from(ENDS), word=st.sampled_from("ab"))
    def finish(self, which: tuple[bool, int], age: int, status: RunStatus, word: str) -> None:
        """A worker ends a run, perhaps again."""
        run = self.pick(which)
        claim_number = max(1, run.claim_number - age)
        error = RunError(message=word) if status is RunStatus.FAILED else None
        body = Finish(claim_number=claim_number, status=status, ended_by=word, weights=word * 64, error=error)
        if run.held(claim_number):
            self.services.queue.finish(run.id, body)
            if status is RunStatus.PAUSED and (run.cancel or not run.pause):
                status = RunStatus.CANCELLED if run.cancel else RunStatus.QUEUED
            run.end(status, word)
            run.kept = 0 if status is RunStatus.FINISHED else run.kept
            run.weights = word * 64
        elif run.status is status and run.claim_number == claim_number:
            self.services.queue.finish(run.id, body)
        else:
            with pytest.raises(LeaseLost):
                self.services.queue.finish(run.id, body)
