"""Actions of users: launch, cancel, pause, resume, retry, prioritize, delete and restore."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from backend.errors import Conflict, QueueFull
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from tests.backend.queue.play.agreement import PICK, Agreement
from tests.backend.queue.play.model import Expected
from tests.backend.samples import spec


class Users(Agreement):
    """Users who launch, and change their minds."""

    @rule(count=st.integers(1, 2))
    def launch(self, count: int) -> None:
        """A user queues one or two runs."""
        wanted = spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(count)))
        if self.model.full(count):
            with pytest.raises(QueueFull):
                self.services.experiments.launch(wanted)
            return
        made = self.services.experiments.launch(wanted)
        self.model.runs += [Expected(run.id, made.id) for run in made.runs]

    @precondition(Agreement.has_runs)
    @rule(which=PICK)
    def cancel(self, which: tuple[bool, int]) -> None:
        """A user cancels a run."""
        run = self.pick(which)
        if run.status in {RunStatus.FINISHED, RunStatus.FAILED}:
            with pytest.raises(Conflict):
                self.services.queue.cancel(run.id)
            return
        run.cancel = run.cancel or run.status is not RunStatus.CANCELLED
        if run.status in {RunStatus.QUEUED, RunStatus.PAUSED} or self.model.lease_expired(run):
            run.end(RunStatus.CANCELLED)
        self.services.queue.cancel(run.id)

    @precondition(Agreement.has_runs)
    @rule(which=PICK)
    def pause(self, which: tuple[bool, int]) -> None:
        """A user pauses a run."""
        run = self.pick(which)
        if run.status.final:
            with pytest.raises(Conflict):
                self.services.queue.pause(run.id)
            return
        if run.status is RunStatus.QUEUED or self.model.lease_expired(run):
            run.end(RunStatus.PAUSED)
        elif run.status is RunStatus.RUNNING:
            run.pause = True
        self.services.queue.pause(run.id)

    @precondition(Agreement.has_runs)
    @rule(which=PICK)
    def resume(self, which: tuple[bool, int]) -> None:
        """A user resumes a run, or withdraws a pause."""
        run = self.pick(which)
        if run.status.final:
            with pytest.raises(Conflict):
                self.services.queue.resume(run.id)
            return
        if run.status is RunStatus.PAUSED and self.model.full():
            with pytest.raises(QueueFull):
                self.services.queue.resume(run.id)
            return
        if run.status is RunStatus.PAUSED:
            run.end(RunStatus.QUEUED, "")
            run.claims_without_progress = 0
        run.pause = False
        self.services.queue.resume(run.id)

    @precondition(Agreement.has_runs)
    @rule(which=PICK)
    def retry(self, which: tuple[bool, int]) -> None:
        """A user queues a run again that failed or was cancelled."""
        run = self.pick(which)
        if run.experiment in self.model.deleted:
            with pytest.raises(Conflict):
                self.services.queue.retry(run.id)
            return
        if run.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            if self.model.full():
                with pytest.raises(QueueFull):
                    self.services.queue.retry(run.id)
                return
            run.end(RunStatus.QUEUED, "")
            run.cancel, run.claims_without_progress, run.best_update = False, 0, 0
        elif run.status is not RunStatus.QUEUED:
            with pytest.raises(Conflict):
                self.services.queue.retry(run.id)
            return
        self.services.queue.retry(run.id)

    @precondition(Agreement.has_runs)
    @rule(which=PICK, priority=st.integers(-1, 1))
    def prioritize(self, which: tuple[bool, int], priority: int) -> None:
        """A user changes the priority of a run."""
        run = self.pick(which)
        if run.status.final:
            with pytest.raises(Conflict):
                self.services.queue.prioritize(run.id, priority)
            return
        run.priority = priority
        self.services.queue.prioritize(run.id, priority)

    @precondition(Agreement.has_runs)
    @rule(which=PICK, sure=st.sampled_from([True, False, False, False]))
    def delete(self, which: tuple[bool, int], sure: bool) -> None:
        """A user deletes a comparison, perhaps again; seldom, for what follows has little left to happen to."""
        if not sure:
            return
        experiment = self.pick(which).experiment
        self.services.experiments.delete(experiment)
        self.model.deleted.add(experiment)
        for run in (run for run in self.model.runs if run.experiment == experiment and not run.status.final):
            run.cancel, run.pause = True, False
            if run.status is not RunStatus.RUNNING or self.model.lease_expired(run):
                run.end(RunStatus.CANCELLED, "deleted")

    @precondition(Agreement.has_runs)
    @rule(which=PICK)
    def restore(self, which: tuple[bool, int]) -> None:
        """A user takes that back; what was cancelled stays so."""
        experiment = self.pick(which).experiment
        self.services.experiments.restore(experiment)
        self.model.deleted.discard(experiment)
