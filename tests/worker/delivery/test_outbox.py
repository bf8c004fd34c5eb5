"""Tests of a run's reports on disk, with a real backend."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from filelock import FileLock

from backend.errors import BackendUnavailable, TooLarge
from backend.schemas.api import Claim, Finish
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Checkpoint, RunStatus
from backend.settings import Settings
from tests.clients import BothClient
from tests.inprocess import backend
from tests.processes import free_port
from tests.worker.cases import registry, small_run
from tests.worker.delivery.test_reporter import row
from worker.agent.executor import OUTBOXES
from worker.delivery import outbox as module
from worker.delivery.outbox import Entry, Outbox, deliver_all, outbox_path

CHECKPOINT = Checkpoint(update=2, sha256="1" * 64)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[BothClient]:
    """Start the application."""
    with backend(Settings(home=tmp_path)) as http:
        yield BothClient(http=http)


@pytest.fixture
def claim(client: BothClient) -> Claim:
    """Launch a run and claim it."""
    worker = client.register(WorkerInfo(name="test", device="cpu", threads=1), registry().catalog())
    spec = small_run(Adam()).model_dump(exclude={"optimizer", "seed"})
    client.launch(ExperimentSpec.model_validate(spec | {"optimizers": [Adam(gradient_batch=10)]}))
    claim = client.claim(worker.worker_id)
    assert claim is not None
    return claim


def fill(folder: Path, claim: Claim, *entries: Entry) -> Outbox:
    """Write entries as a claim's process does."""
    outbox = Outbox(outbox_path(folder, claim.run.id, claim.claim_number))
    for entry in entries:
        outbox.append(entry)
    outbox.sync()
    return outbox


def die(outbox: Outbox) -> None:
    """Release an outbox, as the death of its process does."""
    outbox._file.close()
    outbox._lock.release()


def test_the_outbox_of_a_dead_process_is_delivered(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """Rows, the newest checkpoint and the end are delivered once, under their claim number."""
    finish = Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED, ended_by="updates = 3 reached")
    client.append(claim.run.id, claim.claim_number, [row(1)])
    diverged = row(3).model_copy(update={"batch_loss": None, "diverged": True})
    rows = [Entry(row=row(1)), Entry(row=row(2)), Entry(row=diverged)]
    die(fill(tmp_path / "s", claim, *rows[:2], Entry(checkpoint=CHECKPOINT), rows[2], Entry(finish=finish)))
    deliver_all(tmp_path / "s", client)
    deliver_all(tmp_path / "s", client)
    run = client.run(claim.run.id)
    assert (run.status, run.ended_by, run.summary.updates) == (RunStatus.FINISHED, "updates = 3 reached", 3)
    assert list((tmp_path / "s").iterdir()) == []


def test_a_delivered_checkpoint_is_recorded(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """After the delivery the run can continue from a checkpoint saved while the backend was unreachable."""
    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(row=row(2)), Entry(checkpoint=CHECKPOINT)))
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).checkpoint == CHECKPOINT


def test_the_newest_checkpoint_on_the_disk_is_recorded(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """A process that died between a checkpoint and its line in the outbox loses neither that nor the one before."""
    lookups: list[tuple[str, int, int]] = []
    newer = CHECKPOINT.model_copy(update={"update": 2, "sha256": "1" * 64})

    def newest(*lookup: object) -> Checkpoint:
        lookups.append(lookup)  # type: ignore[arg-type]
        return newer

    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(row=row(2))))
    deliver_all(tmp_path, client, newest=newest)
    assert lookups == [(claim.run.id, claim.claim_number, 2)]
    assert client.run(claim.run.id).checkpoint == newer


def test_an_incomplete_line_is_ignored(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """A process that died while writing leaves an incomplete line; the lines before it are delivered."""
    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(row=row(2))))
    path = outbox_path(tmp_path, claim.run.id, claim.claim_number)
    path.write_bytes(path.read_bytes()[:-10])
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 1


def test_rows_that_are_too_late_are_discarded(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """If the run has ended, or another worker has it, nothing is stored and the file is removed."""
    client.finish(claim.run.id, claim.claim_number, RunStatus.CANCELLED, ended_by="cancelled")
    die(fill(tmp_path, claim, Entry(row=row(1))))
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 0
    assert not outbox_path(tmp_path, claim.run.id, claim.claim_number).exists()


def test_the_outbox_of_a_living_process_is_not_delivered(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """An outbox that is locked by a living process is not touched."""
    outbox = fill(tmp_path, claim, Entry(row=row(1)))
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 0
    outbox.remove()


def test_an_outbox_is_delivered_by_one_worker(
    tmp_path: Path, client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another worker delivers and removes a file just before this one locks it, nothing happens."""
    path = outbox_path(tmp_path, claim.run.id, claim.claim_number)
    die(fill(tmp_path, claim, Entry(row=row(1))))
    lock_of = module._lock_of

    def late(path: Path) -> FileLock:
        monkeypatch.undo()
        deliver_all(tmp_path, client)
        assert not path.exists()
        return lock_of(path)

    monkeypatch.setattr(module, "_lock_of", late)
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 1
    assert not path.exists()
    assert list(tmp_path.glob("*.lock")) == []


def test_an_outbox_remains_while_the_backend_is_unreachable(tmp_path: Path, claim: Claim) -> None:
    """While the backend is unreachable nothing is lost."""
    die(fill(tmp_path, claim, Entry(row=row(1))))
    with BothClient(f"http://127.0.0.1:{free_port()}") as away, pytest.raises(BackendUnavailable):
        deliver_all(tmp_path, away)
    assert outbox_path(tmp_path, claim.run.id, claim.claim_number).exists()


def test_a_large_outbox_is_truncated(tmp_path: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the backend has everything, a large file is emptied."""
    monkeypatch.setattr(module, "TRUNCATE_BYTES", 1)
    outbox = fill(tmp_path, claim, Entry(row=row(1)))
    outbox.truncate()
    assert outbox_path(tmp_path, claim.run.id, claim.claim_number).stat().st_size == 0
    outbox.append(Entry(row=row(2)))
    assert outbox_path(tmp_path, claim.run.id, claim.claim_number).read_bytes().startswith(b'{"row":{"update":2,')
    outbox.remove()


@pytest.mark.parametrize("known", [False, True], ids=["end not yet reported", "end already reported"])
def test_a_finished_run_is_reported_once(tmp_path: Path, client: BothClient, claim: Claim, known: bool) -> None:
    """If a process died after its run had finished, the delivery calls `on_finished` once."""
    finish = Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED, weights="0" * 64)
    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(finish=finish)))
    if known:
        client.append(claim.run.id, claim.claim_number, [row(1)])
        client.finish_as(claim.run.id, finish)
    finished: list[tuple[str, int]] = []
    for _ in range(2):
        deliver_all(tmp_path, client, on_finished=lambda *run: finished.append(run))
    assert finished == [(claim.run.id, claim.claim_number)]
    assert client.run(claim.run.id).status is RunStatus.FINISHED


def test_a_refused_end_is_not_reported(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """An end that the backend refuses does not call `on_finished`: another worker needs the files."""
    client.finish(claim.run.id, claim.claim_number, RunStatus.CANCELLED)
    die(fill(tmp_path, claim, Entry(finish=Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED))))
    finished: list[tuple[str, int]] = []
    deliver_all(tmp_path, client, on_finished=lambda *run: finished.append(run))
    assert finished == []


def test_an_outbox_recovers_from_a_full_disk(tmp_path: Path, claim: Claim) -> None:
    """After a failed write entries are skipped until the backend has everything; then they are stored again."""
    outbox = fill(tmp_path, claim, Entry(row=row(1)))
    path, real = outbox_path(tmp_path, claim.run.id, claim.claim_number), outbox._file
    with Path("/dev/full").open("ab", buffering=0) as full:
        outbox._file = full
        outbox.append(Entry(row=row(2)))
    outbox._file = real
    outbox.append(Entry(row=row(3)))
    assert path.read_bytes().count(b"\n") == 1
    outbox.truncate()
    outbox.append(Entry(row=row(4)))
    assert path.read_bytes().startswith(b'{"row":{"update":4,')
    outbox.remove()


def test_progress_is_visible_on_a_full_disk(tmp_path: Path, claim: Claim) -> None:
    """The time of change shows the last update, also if it could not be written; it is 0 before the first."""
    path = outbox_path(tmp_path, claim.run.id, claim.claim_number)
    outbox = Outbox(path)
    real = outbox._file
    assert path.stat().st_mtime == 0
    with Path("/dev/full").open("ab", buffering=0) as full:
        outbox._file = full
        for number in (1, 2):
            outbox.append(Entry(row=row(number)))
            assert path.stat().st_mtime > 1
            os.utime(path, (1, 1))
    outbox._file = real
    outbox.remove()


def test_nothing_follows_an_incomplete_line(tmp_path: Path, claim: Claim) -> None:
    """If only a part of a line was written, nothing follows it, because it could not be read."""

    class Short:
        def write(self, line: bytes) -> int:
            return real.write(line[:5])

    outbox = fill(tmp_path, claim, Entry(row=row(1)))
    path, real = outbox_path(tmp_path, claim.run.id, claim.claim_number), outbox._file
    outbox._file = Short()  # type: ignore[assignment] # the one method that is called
    outbox.append(Entry(row=row(2)))
    outbox._file = real
    outbox.append(Entry(row=row(3)))
    assert path.read_bytes().endswith(b'\n{"row')
    outbox.remove()


def test_a_removed_outbox_is_no_error(tmp_path: Path, claim: Claim) -> None:
    """Neither a user who removes the file nor a disk that refuses every write ends the run."""
    outbox = fill(tmp_path, claim, Entry(row=row(1)))
    outbox_path(tmp_path, claim.run.id, claim.claim_number).unlink()
    with Path("/dev/full").open("ab", buffering=0) as full:
        real, outbox._file = outbox._file, full
        outbox.append(Entry(row=row(2)))
        outbox.append(Entry(row=row(3)))
        outbox.truncate()
        outbox.append(Entry(row=row(4)))
    outbox._file = real
    outbox.remove()


def test_a_refused_outbox_does_not_block_the_others(
    tmp_path: Path, claim: Claim, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that the backend refuses remains; those after it are delivered."""
    name = outbox_path(tmp_path, "0" * 16, 1).name
    refused = [tmp_path / name, tmp_path / "0-b.jsonl"]
    for path in refused:
        path.write_text(Entry(row=row(1)).model_dump_json() + "\n")
    die(fill(tmp_path, claim, Entry(row=row(1))))
    finished: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        finished.append(request.url.path.split("/")[4])
        error = TooLarge("the body may hold at most 1000 bytes")
        return (
            httpx.Response(200, json={"last_update": 1})
            if claim.run.id in request.url.path
            else httpx.Response(error.status, json=error.body())
        )

    client = BothClient(http=httpx.Client(transport=httpx.MockTransport(answer), base_url="http://backend"))
    deliver_all(tmp_path, client)
    assert finished == ["0" * 16, claim.run.id]
    assert sorted(tmp_path.glob("*.jsonl")) == sorted(refused)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_the_outbox_of_the_version_before_is_delivered(tmp_path: Path, client: BothClient, claim: Claim) -> None:
    """Lines as version 0.1 wrote them, in the folder of its name, are delivered in full."""
    folder = tmp_path / OUTBOXES
    path = folder / f"{claim.run.id}-{claim.claim_number}.jsonl"
    assert path == tmp_path / "spool" / path.name == outbox_path(folder, claim.run.id, claim.claim_number)
    folder.mkdir()
    numbers = '"epoch":0.1,"samples":10,"seconds":0.5,"cost":3.5,"batch_loss":1.5,"gradient_norm":1.0,"step_norm":0.25'
    block = '{"cg_iterations":4,"stop_reason":"iterations","residual":0.5,"model_decrease":0.1,"way":"generic"}'
    path.write_text(
        f'{{"row":{{"update":1,{numbers},"diverged":false,"blocks":[{block}]}}}}\n'
        f'{{"checkpoint":{{"update":1,"sha256":"{"1" * 64}"}}}}\n'
        f'{{"row":{{"update":2,{numbers},"blocks":[]}}}}\n'
        f'{{"finish":{{"token":{claim.claim_number},"status":"cancelled",'
        '"ended_by":"cancelled after 2 updates","error":null,"weights":null}}\n'
    )
    deliver_all(folder, client)
    run = client.run(claim.run.id)
    assert (run.status, run.summary.updates, run.ended_by) == (RunStatus.CANCELLED, 2, "cancelled after 2 updates")
    assert run.checkpoint == Checkpoint(update=1, sha256="1" * 64)
    assert list(folder.iterdir()) == []
