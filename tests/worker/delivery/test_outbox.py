"""Tests of what a run has to tell, on disk until a real backend has it."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from filelock import FileLock

from backend.client import Client
from backend.errors import BackendUnavailable, TooLarge
from backend.schemas.api import Claim, Finish
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Checkpoint, RunStatus
from backend.settings import Settings
from tests.inprocess import backend
from tests.processes import free_port
from tests.worker.cases import registry, small_run
from tests.worker.delivery.test_reporter import row
from worker.delivery import outbox as module
from worker.delivery.outbox import Entry, Spool, deliver_all, path_of

CHECKPOINT = Checkpoint(update=2, sha256="1" * 64)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Start the application."""
    with backend(Settings(home=tmp_path)) as http:
        yield Client(http=http)


@pytest.fixture
def claim(client: Client) -> Claim:
    """Launch a run and claim it."""
    worker = client.register(WorkerInfo(name="test", device="cpu", threads=1), registry().catalog())
    spec = small_run(Adam()).model_dump(exclude={"optimizer", "seed"})
    client.launch(ExperimentSpec.model_validate(spec | {"optimizers": [Adam(gradient_batch=10)]}))
    claim = client.claim(worker.worker_id)
    assert claim is not None
    return claim


def fill(folder: Path, claim: Claim, *entries: Entry) -> Spool:
    """Write entries as a claim's process does."""
    spool = Spool(path_of(folder, claim.run.id, claim.claim_number))
    for entry in entries:
        spool.write(entry)
    spool.sync()
    return spool


def die(spool: Spool) -> None:
    """End the process that holds a spool, as far as others can see."""
    spool._file.close()
    spool._lock.release()


def test_a_dead_process_is_spoken_for(tmp_path: Path, client: Client, claim: Claim) -> None:
    """Rows, the newest checkpoint and the end are delivered once, under the token they belong to."""
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


def test_a_checkpoint_is_named_with_its_rows(tmp_path: Path, client: Client, claim: Claim) -> None:
    """After the delivery the run can go on from the checkpoint that was written while the backend was away."""
    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(row=row(2)), Entry(checkpoint=CHECKPOINT)))
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).checkpoint == CHECKPOINT


def test_a_torn_line_ends_the_file(tmp_path: Path, client: Client, claim: Claim) -> None:
    """A process that died while it wrote leaves half a line; what stands before it counts."""
    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(row=row(2))))
    path = path_of(tmp_path, claim.run.id, claim.claim_number)
    path.write_bytes(path.read_bytes()[:-10])
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 1


def test_what_comes_too_late_is_dropped(tmp_path: Path, client: Client, claim: Claim) -> None:
    """Where the run has ended, or another worker has it, nothing is written and the file goes."""
    client.finish(claim.run.id, claim.claim_number, RunStatus.CANCELLED, ended_by="cancelled")
    die(fill(tmp_path, claim, Entry(row=row(1))))
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 0
    assert not path_of(tmp_path, claim.run.id, claim.claim_number).exists()


def test_a_living_process_speaks_for_itself(tmp_path: Path, client: Client, claim: Claim) -> None:
    """A spool whose process lives is left alone."""
    spool = fill(tmp_path, claim, Entry(row=row(1)))
    deliver_all(tmp_path, client)
    assert client.run(claim.run.id).summary.updates == 0
    spool.remove()


def test_a_file_that_another_worker_delivered_is_left_out(
    tmp_path: Path, client: Client, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another worker delivers and removes a file just before this one gets its lock, nothing is left to do."""
    path = path_of(tmp_path, claim.run.id, claim.claim_number)
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


def test_rows_wait_for_the_backend(tmp_path: Path, claim: Claim) -> None:
    """While the backend is away nothing is lost."""
    die(fill(tmp_path, claim, Entry(row=row(1))))
    with Client(f"http://127.0.0.1:{free_port()}") as away, pytest.raises(BackendUnavailable):
        deliver_all(tmp_path, away)
    assert path_of(tmp_path, claim.run.id, claim.claim_number).exists()


def test_a_spool_stays_small(tmp_path: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the backend has everything a large file begins anew."""
    monkeypatch.setattr(module, "CLEAR_BYTES", 1)
    spool = fill(tmp_path, claim, Entry(row=row(1)))
    spool.clear()
    assert path_of(tmp_path, claim.run.id, claim.claim_number).stat().st_size == 0
    spool.write(Entry(row=row(2)))
    assert path_of(tmp_path, claim.run.id, claim.claim_number).read_bytes().startswith(b'{"row":{"update":2,')
    spool.remove()


@pytest.mark.parametrize("known", [False, True], ids=["the backend hears it now", "the backend knows it already"])
def test_a_finished_run_is_cleaned_up_after(tmp_path: Path, client: Client, claim: Claim, known: bool) -> None:
    """Where a process died after its run had finished, whoever delivers its spool hears that, and once."""
    finish = Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED)
    die(fill(tmp_path, claim, Entry(row=row(1)), Entry(finish=finish)))
    if known:
        client.append(claim.run.id, claim.claim_number, [row(1)])
        client.finish_as(claim.run.id, finish)
    told: list[tuple[str, int]] = []
    for _ in range(2):
        deliver_all(tmp_path, client, finished=lambda *run: told.append(run))
    assert told == [(claim.run.id, claim.claim_number)]
    assert client.run(claim.run.id).status is RunStatus.FINISHED


def test_a_run_that_another_has_is_not_cleaned_up_after(tmp_path: Path, client: Client, claim: Claim) -> None:
    """An end that the backend refuses cleans up nothing: somebody goes on from those files."""
    client.finish(claim.run.id, claim.claim_number, RunStatus.CANCELLED)
    die(fill(tmp_path, claim, Entry(finish=Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED))))
    told: list[tuple[str, int]] = []
    deliver_all(tmp_path, client, finished=lambda *run: told.append(run))
    assert told == []


def test_a_spool_that_broke_begins_anew(tmp_path: Path, claim: Claim) -> None:
    """What a full disk cut off is skipped until the backend has everything; then rows are kept again."""
    spool = fill(tmp_path, claim, Entry(row=row(1)))
    path, real = path_of(tmp_path, claim.run.id, claim.claim_number), spool._file
    with Path("/dev/full").open("ab", buffering=0) as full:
        spool._file = full
        spool.write(Entry(row=row(2)))
    spool._file = real
    spool.write(Entry(row=row(3)))
    assert path.read_bytes().count(b"\n") == 1
    spool.clear()
    spool.write(Entry(row=row(4)))
    assert path.read_bytes().startswith(b'{"row":{"update":4,')
    spool.remove()


def test_the_worker_sees_updates_that_the_disk_refuses(tmp_path: Path, claim: Claim) -> None:
    """A spool's time says when the last update was, also where the disk has taken none; at first there was none."""
    path = path_of(tmp_path, claim.run.id, claim.claim_number)
    spool = Spool(path)
    real = spool._file
    assert path.stat().st_mtime == 0
    with Path("/dev/full").open("ab", buffering=0) as full:
        spool._file = full
        for number in (1, 2):
            spool.write(Entry(row=row(number)))
            assert path.stat().st_mtime > 1
            os.utime(path, (1, 1))
    spool._file = real
    spool.remove()


def test_half_a_line_ends_a_spool(tmp_path: Path, claim: Claim) -> None:
    """Where the disk took part of a line nothing follows it, for it could not be read."""

    class Short:
        def write(self, line: bytes) -> int:
            return real.write(line[:5])

    spool = fill(tmp_path, claim, Entry(row=row(1)))
    path, real = path_of(tmp_path, claim.run.id, claim.claim_number), spool._file
    spool._file = Short()  # type: ignore[assignment] # all of a file that this takes
    spool.write(Entry(row=row(2)))
    spool._file = real
    spool.write(Entry(row=row(3)))
    assert path.read_bytes().endswith(b'\n{"row')
    spool.remove()


def test_a_spool_whose_file_is_gone_stops_nobody(tmp_path: Path, claim: Claim) -> None:
    """A user who removes the folder, or a disk that refuses everything, does not end the run."""
    spool = fill(tmp_path, claim, Entry(row=row(1)))
    path_of(tmp_path, claim.run.id, claim.claim_number).unlink()
    with Path("/dev/full").open("ab", buffering=0) as full:
        real, spool._file = spool._file, full
        spool.write(Entry(row=row(2)))
        spool.write(Entry(row=row(3)))
        spool.clear()
        spool.write(Entry(row=row(4)))
    spool._file = real
    spool.remove()


def test_one_that_is_refused_keeps_no_other_back(
    tmp_path: Path, claim: Claim, caplog: pytest.LogCaptureFixture
) -> None:
    """What the backend does not take stays where it is; what comes after it is delivered."""
    name = path_of(tmp_path, "0" * 16, 1).name
    refused = [tmp_path / name, tmp_path / "0-b.jsonl"]
    for path in refused:
        path.write_text(Entry(row=row(1)).model_dump_json() + "\n")
    die(fill(tmp_path, claim, Entry(row=row(1))))
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(request.url.path.split("/")[4])
        error = TooLarge("the body may hold at most 1000 bytes")
        return (
            httpx.Response(200, json={"last_update": 1})
            if claim.run.id in request.url.path
            else httpx.Response(error.status, json=error.body())
        )

    client = Client(http=httpx.Client(transport=httpx.MockTransport(answer), base_url="http://backend"))
    deliver_all(tmp_path, client)
    assert told == ["0" * 16, claim.run.id]
    assert sorted(tmp_path.glob("*.jsonl")) == sorted(refused)
    assert f"{name} cannot be delivered, and stays: the body may hold at most 1000 bytes" in caplog.text
