"""Tests of the client's calls, against the application."""

import threading
from pathlib import Path

import pytest

from backend.errors import Conflict, InvalidInput, LeaseLost, NotFound, NoWorker
from backend.schemas.api import Claim, HeartbeatAnswer
from backend.schemas.measures import BlockStats, StopReason
from backend.schemas.runs import RunError, RunStatus
from tests.backend.samples import INFO, Clock, catalog, checkpoint, spec, update, updates
from tests.clients import BothClient
from tests.processes import Processes


def test_users_calls(client: BothClient, worker: str) -> None:
    """A user checks, launches, lists, reads and cancels."""
    assert client.health()
    answer = client.catalog()
    assert answer.catalog == catalog()
    assert [known.id for known in answer.workers] == [worker]
    assert len(client.check(spec()).runs) == 2
    made = client.launch(spec())
    assert client.experiment(made.id) == made
    assert client.experiments(limit=1) == [made]
    assert client.experiments(before=made.id) == []
    assert client.runs(experiment=made.id) == made.runs[::-1]
    assert client.runs(status="finished") == client.runs(status=RunStatus.FINISHED) == []
    assert client.runs(limit=1, before=made.runs[1].id) == [made.runs[0]]
    assert client.run(made.runs[0].id) == made.runs[0]
    assert client.cancel(made.runs[0].id).status is RunStatus.CANCELLED


def test_workers_calls(client: BothClient, claim: Claim, worker: str) -> None:
    """A worker registers, claims, reports and finishes."""
    run_id, token = claim.run.id, claim.claim_number
    client.worker_heartbeat(worker)
    client.start(run_id, token, environment={"device": "cpu"}, blocks=[["a"]], parameters=3)
    assert client.append(run_id, token, updates(1, 3)) == 3
    assert client.append(run_id, token, []) == 3
    assert client.heartbeat(run_id, token) == HeartbeatAnswer(cancel=False)
    client.cancel(run_id)
    assert client.heartbeat(run_id, token) == HeartbeatAnswer(cancel=True)
    for _ in range(2):
        client.finish(run_id, token, "failed", ended_by="error", error=RunError(message="broke"))
    (run,) = client.wait([run_id], timeout=0)
    assert (run.status, run.error, run.blocks) == (RunStatus.FAILED, RunError(message="broke"), [["a"]])


def test_a_claim_may_find_nothing(client: BothClient, worker: str) -> None:
    """Without anything to do there is no claim."""
    assert client.claim(worker) is None


def test_series_and_export(client: BothClient, claim: Claim) -> None:
    """Curves come as columns, rows as CSV."""
    client.append(claim.run.id, claim.claim_number, updates(1, 4))
    other = claim.run.id
    found = client.series([other], after=[2], fields=["cost"], blocks=True)[other]
    assert (found["update"], found["cost"]) == ([3, 4], [6.0, 8.0])
    assert found["blocks"][0]["cg_iterations"] == [3, 4]
    assert client.series([other], bucket=2, fields=["cost"])[other]["update"] == [1, 3, 4]
    assert client.series([]) == {}
    lines = client.export(other).splitlines()
    assert lines[0].startswith("update,epoch,")
    assert lines[1].startswith("1,0.1,10,0.5,2.0,0.75,100.0,")
    assert len(lines) == 5


def test_rows_as_a_frame(client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame holds every row of every run, however many answers that takes, and knows whose they are."""
    monkeypatch.setattr("backend.metrics.writer.MAX_POINTS", 8)
    client.append(claim.run.id, claim.claim_number, updates(1, 30))
    other = client.runs(status="queued")[0].id
    frame = client.series_frame([claim.run.id, other])
    assert list(frame["update"]) == list(range(1, 31))
    assert set(frame["run"]) == {claim.run.id}
    assert frame["train_loss"].iloc[2] == 30.0
    assert frame["diverged"].dtype.name == "bool"
    assert client.series_frame([]).empty


def test_runs_are_followed(client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come as columns until the run has ended, in several answers where one cannot hold them."""
    client.append(claim.run.id, claim.claim_number, updates(1, 30))
    client.finish(claim.run.id, claim.claim_number, "finished")
    ((run_id, columns),) = client.follow([claim.run.id])
    assert (run_id, columns["update"], columns["status"]) == (claim.run.id, list(range(1, 31)), "finished")
    monkeypatch.setattr("backend.metrics.writer.MAX_POINTS", 8)
    parts = [columns["update"] for _, columns in client.follow([claim.run.id])]
    assert [len(part) for part in parts] == [8, 8, 8, 6]
    assert [update for part in parts for update in part] == list(range(1, 31))
    client.cancel(client.runs(status="queued")[0].id)
    assert {found for found, _ in client.follow(experiment=claim.run.experiment_id)} == {
        run.id for run in client.runs(experiment=claim.run.experiment_id)
    }


def test_what_cannot_be_followed(client: BothClient, claim: Claim) -> None:
    """Runs or an experiment are named, and exist; no runs are no rows."""
    with pytest.raises(NotFound):
        list(client.follow(["nowhere0"]))
    with pytest.raises(NotFound):
        list(client.follow(experiment="nowhere0"))
    for runs, experiment in ((None, None), ([claim.run.id], claim.run.experiment_id)):
        with pytest.raises(InvalidInput):
            list(client.follow(runs, experiment=experiment))
    assert list(client.follow([])) == []


def test_a_retried_run_is_followed(
    client: BothClient, claim: Claim, worker: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that a second claim trains again from its checkpoint is read anew; the follower ends with the last row."""
    run, token = claim.run.id, claim.claim_number
    client.append(run, token, updates(1, 3), checkpoint=checkpoint(2))
    held: dict[int, float] = {}
    attempts: list[int] = []

    def train_again(_: float) -> None:
        """Let the lease expire, train again from update 2 with other rows, and finish."""
        clock.now += 100
        again = client.claim(worker)
        assert again is not None
        assert again.run.id == run
        client.start(run, again.claim_number, environment={}, blocks=[], parameters=1, resumed_from=2)
        rows = [update(n).model_copy(update={"train_loss": 1000.0 + n}) for n in range(3, 6)]
        client.append(run, again.claim_number, rows)
        client.finish(run, again.claim_number, "finished")

    monkeypatch.setattr("backend.client.run_calls.time.sleep", train_again)
    for _, columns in client.follow([run]):
        if columns["row_generation"] not in attempts:
            attempts.append(columns["row_generation"])
            held.clear()
        held |= dict(zip(columns["update"], columns["train_loss"], strict=True))
    assert len(attempts) == 2
    assert list(held) == [1, 2, 3, 4, 5]
    assert [held[n] for n in (3, 4, 5)] == [1003.0, 1004.0, 1005.0]


def test_following_survives_a_restart_of_the_backend(tmp_path: Path) -> None:
    """A follower of a real backend that is killed and started again gets every row once, in order."""
    processes = Processes(tmp_path)
    try:
        client = processes.client
        worker = client.register(INFO, catalog()).worker_id
        run = client.launch(spec()).runs[0]
        claim = client.claim(worker)
        assert claim is not None
        client.append(run.id, claim.claim_number, updates(1, 3))
        seen: list[int] = []

        def follow() -> None:
            with BothClient(processes.backend_url) as follower:
                for _, columns in follower.follow([run.id]):
                    seen.extend(columns["update"])

        thread = threading.Thread(target=follow)
        thread.start()
        processes.wait_until(lambda: len(seen) == 3)
        processes.restart_backend(after=1)
        client.append(run.id, claim.claim_number, updates(4, 5))
        client.finish(run.id, claim.claim_number, "finished")
        thread.join(60)
        assert seen == [1, 2, 3, 4, 5]
    finally:
        processes.stop()


def test_any_number_of_rows_is_appended(client: BothClient, claim: Claim) -> None:
    """Rows beyond the limits on rows and bytes of one request are sent in several."""
    stats = BlockStats(
        cg_iterations=10_000, stop_reason=StopReason.ITERATIONS, residual=1 / 3, model_decrease=-1 / 3e-300
    )
    rows = [update(n, blocks=[stats] * 64) for n in range(1, 301)]
    assert len(rows[0].model_dump_json()) * len(rows) > 1_000_000
    assert client.append(claim.run.id, claim.claim_number, rows) == 300
    assert client.append(claim.run.id, claim.claim_number, updates(301, 1500)) == 1500
    assert client.run(claim.run.id).summary.updates == 1500


def test_errors_come_back_as_they_were_raised(client: BothClient, claim: Claim, clock: Clock, worker: str) -> None:
    """Problem details become the exception they were made of, with its fields."""
    with pytest.raises(NotFound, match="there is no run nowhere0"):
        client.run("nowhere0")
    with pytest.raises(InvalidInput) as caught:
        client.launch(spec(problem={"name": "squeeze", "data": "nowhere"}))
    assert [(error.field, error.value) for error in caught.value.errors] == [("problem.data", "nowhere")]
    client.launch(spec(name="one"), idempotency_key="k")
    with pytest.raises(Conflict, match="idempotency key"):
        client.launch(spec(name="two"), idempotency_key="k")
    clock.now += 1000
    client.claim(worker)
    with pytest.raises(LeaseLost):
        client.append(claim.run.id, claim.claim_number, updates(1, 1))


def test_a_key_may_be_long(client: BothClient, worker: str) -> None:
    """The longest key that the backend takes is sent, once."""
    assert worker
    made = [client.launch(spec(), idempotency_key="k" * 199 + "!") for _ in range(2)]
    assert made[0] == made[1]


def test_no_worker_is_its_own_error(client: BothClient) -> None:
    """A launch without a worker raises another error than an unreachable backend."""
    with pytest.raises(NoWorker):
        client.launch(spec())


def test_waiting_has_an_end(client: BothClient, claim: Claim) -> None:
    """A run that does not end in time is named."""
    with pytest.raises(TimeoutError, match=claim.run.id):
        client.wait([claim.run.id], timeout=0)


def test_runs_are_steered(client: BothClient, worker: str) -> None:
    """Pause, resume, retry and priority reach the queue, and a checkpoint reaches the next claim."""
    first, second = client.launch(spec()).runs
    assert client.prioritize(second.id, 3).priority == 3
    claim = client.claim(worker)
    assert claim is not None
    assert claim.run.id == second.id
    client.append(second.id, claim.claim_number, updates(1, 2), checkpoint=checkpoint(2))
    assert client.pause(second.id).pause_requested
    assert client.heartbeat(second.id, claim.claim_number).pause
    client.finish(second.id, claim.claim_number, RunStatus.PAUSED, ended_by="paused")
    assert client.resume(second.id).checkpoint == checkpoint(2)
    client.cancel(first.id)
    assert client.retry(first.id).status is RunStatus.QUEUED


def test_comparisons_are_kept_in_order(client: BothClient, worker: str) -> None:
    """Names, tags, archive, deletion and its undo reach the backend; bad input is refused before it is sent."""
    assert worker
    made = client.launch(spec())
    assert client.edit(made.id, name="b", note="n", tags=["x"]).name == "b"
    assert client.tags() == ["x"]
    assert client.edit(made.id, archived=True, tags=[]).note == "n"
    assert client.experiments() == []
    assert [one.id for one in client.experiments(archived=True)] == [made.id]
    assert client.delete(made.id).deleted_at is not None
    assert client.experiments(archived=True) == []
    assert [one.id for one in client.experiments(archived=True, deleted=True)] == [made.id]
    assert client.restore(made.id).archived
    with pytest.raises(InvalidInput, match="note"):
        client.edit(made.id, note="x" * 10_001)


def test_presets_are_saved_and_deleted(client: BothClient) -> None:
    """Saved settings are returned completely."""
    saved = client.save_preset("mine", "Mine", spec(budget={"updates": None, "epochs": 2}))
    assert client.presets() == [client.preset("mine")] == [saved]
    assert saved.spec.budget.updates is None
    client.delete_preset("mine")
    with pytest.raises(NotFound, match="no preset mine"):
        client.delete_preset("mine")
