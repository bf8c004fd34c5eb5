"""What must hold after each step of a play: queue and model agree."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from backend.schemas.runs import Checkpoint, RunStatus
from tests.backend.queue.play.model import Expected, Model
from tests.backend.queue.play.stage import Stage

PICK = st.tuples(st.booleans(), st.integers(0, 30))
_WHOLE_EVERY = 25


class Agreement(RuleBasedStateMachine):
    """A queue and its model, and the runs that a rule may choose from."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.services, self.model = self.stage.services, Model(self.stage.clock)
        self.steps = 0
        self.stage.clear()

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

    @invariant()
    def agree(self) -> None:
        """The tables are as the model has them: each run, and each of its updates exactly once."""
        runs, rows, blocks = self.stage.tables()
        assert set(runs) == {run.id for run in self.model.runs}
        for run in self.model.runs:
            kept = runs[run.id]
            assert (kept.status, kept.cancel_requested, kept.pause_requested) == (run.status, run.cancel, run.pause)
            assert (kept.claim_number, kept.claims, kept.worker) == (run.claim_number, run.claim_number, run.worker)
            assert (kept.priority, kept.row_generation, kept.weights) == (run.priority, run.row_generation, run.weights)
            assert (kept.claims_without_progress, kept.best_update, kept.started_claim) == (
                run.claims_without_progress,
                run.best_update,
                run.started_claim,
            )
            assert kept.ended_by == run.ended_by
            assert kept.lease_until == (run.lease_until if run.status is RunStatus.RUNNING else None)
            named = Checkpoint.model_validate_json(kept.checkpoint).update if kept.checkpoint else 0
            assert named == run.kept <= run.rows
            assert (kept.updates, kept.seconds) == (run.rows, run.rows * 0.5)
            assert kept.best_test_loss == (95.0 / run.rows if run.rows else None)
            numbers = range(1, run.rows + 1)
            assert rows[kept.number] == [(n, 10 * n) for n in numbers]
            assert blocks[kept.number] == [(n, b, n + b) for n in numbers for b in (0, 1)]

    @invariant()
    def agree_now_and_then(self) -> None:
        """The API's answers are compared less often, as that takes longer."""
        self.steps += 1
        if self.steps % _WHOLE_EVERY == 0:
            self.agree_in_words()

    def agree_in_words(self) -> None:
        """The API's answers match the tables."""
        if not self.has_runs():
            return
        found = {run.id: run for run in self.services.runs.list(limit=1000)}
        shown = {run.id for run in self.model.runs if run.experiment not in self.model.deleted or run.id in found}
        assert set(found) == shown
        rows = self.services.metrics.series([run.id for run in self.model.runs], fields=["samples"], blocks=True)
        for run in self.model.runs:
            told = found.get(run.id) or self.services.runs.get(run.id)
            assert (told.status, told.cancel_requested, told.claims) == (run.status, run.cancel, run.claim_number)
            assert (told.checkpoint.update if told.checkpoint else 0) == run.kept
            assert (told.summary.updates, rows[run.id]["row_generation"]) == (run.rows, run.row_generation)
            assert rows[run.id]["update"] == list(range(1, run.rows + 1))
