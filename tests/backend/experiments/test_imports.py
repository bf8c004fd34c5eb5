"""Tests of imports: a history is stored unchanged and marked; an invalid file is refused with the line."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy import update as update_of

from backend.api.services import Services
from backend.errors import InvalidInput
from backend.experiments import imports
from backend.formats.history_csv import rows
from backend.metrics.writer import store_rows
from backend.schemas.api import Claim, Import
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from backend.storage.tables import RUNS, UPDATES
from tests.backend.samples import spec, updates
from tests.clients import BothClient
from tests.inprocess import backend

BLOCKS = "block0_cg_iterations,block0_stop_reason,block1_cg_iterations,block1_stop_reason"
ONE = spec(name="elsewhere", optimizers=[Adam(gradient_batch=10)], problem={"name": "unknown-here", "data": "theirs"})


def test_an_export_can_be_imported(client: BothClient, claim: Claim) -> None:
    """An exported run is imported with every column, blocks and summary, and is marked."""
    client.append(claim.run.id, claim.claim_number, updates(1, 1200))
    text = client.export(claim.run.id)
    run = client.import_run(ONE, text)
    assert client.export(run.id) == text
    assert (
        client.series([run.id], blocks=True)[run.id]["blocks"]
        == client.series([claim.run.id], blocks=True)[claim.run.id]["blocks"]
    )
    assert run.summary == client.run(claim.run.id).summary
    assert (run.status, run.ended_by, run.experiment_name) == (RunStatus.FINISHED, "imported", "elsewhere")
    assert run.environment == {"origin": "imported"}
    assert "imported" in run.notes[0]


def test_little_is_needed(client: BothClient) -> None:
    """The number of the update and one measure are a history, without any worker."""
    run = client.import_run(ONE, "update,test_loss,seconds\n1,5.5,0.1\n2,,0.2\n3,4.5,0.3\n")
    columns = client.series([run.id])[run.id]
    assert columns["test_loss"] == [5.5, None, 4.5]
    assert columns["seconds"] == [0.1, 0.2, 0.3]
    assert columns["cpu_seconds"] == columns["scale"] == [None, None, None]
    assert (run.summary.best_test_loss, run.summary.updates) == (4.5, 3)


def test_imported_runs_are_never_claimed(client: BothClient, worker: str) -> None:
    """No worker trains them."""
    client.import_run(spec(optimizers=[Adam(gradient_batch=10)]), "update,test_loss\n1,5.5\n")
    assert client.claim(worker) is None


@pytest.mark.parametrize(
    ("text", "updates", "losses"),
    [
        ("update,train_loss\n0,9\n1,5\n", [1, 2], [9, 5]),
        ("update,train_loss\n2,5\n4,3\n", [1, 2, 3, 4], [None, 5, None, 3]),
        ("update,train_loss\n1,5\n2,NaN\n3,-inf\n", [1, 2, 3], [5, None, None]),
        ("update;train_loss\n1;5,25\n2;4,125\n", [1, 2], [5.25, 4.125]),
        ("\ufeffupdate\ttrain_loss\r\n1\t5.5\r\n", [1], [5.5]),
    ],
    ids=["from 0", "gaps", "not finite", "semicolons", "tabs"],
)
def test_files_of_other_programs_are_read(text: str, updates: list[int], losses: list[float | None]) -> None:
    """Updates that the file leaves out, and cells that are not finite, have no value."""
    found = list(rows(text))
    assert [row.update for row in found] == updates
    assert [row.train_loss for row in found] == losses


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "csv"),
        ("update,train_loss\n", "csv"),
        ("train_loss\n1\n", "csv"),
        ("update,seconds\n1,1\n", "csv"),
        ("update,train_loss,nope\n1,1,1\n", "csv"),
        ("update,update,train_loss\n1,1,1\n", "csv"),
        ("update,train_loss\n300000,1\n", "csv.line2.update"),
        ("update,train_loss\n0,1\n0,1\n", "csv.line3.update"),
        ("update,train_loss,seconds\n1,1,5\n2,1,4\n", "csv.line3.seconds"),
        ("update,train_loss\n1,1\n1,1\n", "csv.line3.update"),
        ("update,train_loss\n5,1\n3,1\n", "csv.line3.update"),
        ("update,train_loss\n1,1e999\n", "csv.line2.train_loss"),
        ("update,train_loss\n1,=cmd()\n", "csv.line2.train_loss"),
        ("update,train_loss\n1\n", "csv.line2"),
        ("update,train_loss\n1,2,3\n", "csv.line2"),
        ('update,train_loss\n1,"2\n', "csv.line2"),
        ("update,train_loss,block0_residual\n1,2,3\n", "csv.line2.block0_cg_iterations"),
        (f"update,train_loss,{BLOCKS}\n1,2,1,iterations,1,tired\n", "csv.line2.block1_stop_reason"),
        (f"update,train_loss,{BLOCKS}\n1,2,-1,iterations,1,iterations\n", "csv.line2.block0_cg_iterations"),
        (f"update,train_loss,{BLOCKS}\n1,2,2147483648,iterations,1,iterations\n", "csv.line2.block0_cg_iterations"),
        (f"update,train_loss,{BLOCKS}\n1,2,,,1,iterations\n", "csv.line2.block0_cg_iterations"),
        (
            f"update,train_loss,{BLOCKS.replace('block1', 'block2')}\n1,2,1,iterations,1,iterations\n",
            "csv.line2.block1_cg_iterations",
        ),
        ("update,train_loss,block999_residual_\n1,2,3\n", "csv"),
    ],
)
def test_what_is_no_history_is_refused(text: str, field: str) -> None:
    """The error names the line and the column."""
    with pytest.raises(InvalidInput) as caught:
        list(rows(text))
    assert caught.value.errors[0].field == field


def test_a_file_is_one_run(client: BothClient, http: httpx.Client) -> None:
    """Several optimizers or seeds cannot have made one history; nothing is stored of a file that is refused."""
    with pytest.raises(InvalidInput, match=r"^optimizers is 2: at most 1: .*one optimizer and one seed$"):
        client.import_run(spec(), "update,train_loss\n1,1\n")
    with pytest.raises(InvalidInput, match=r"^seeds is 3: at most 1: .*one optimizer and one seed$"):
        client.import_run(ONE.model_copy(update={"seeds": [1, 2, 3]}), "update,train_loss\n1,1\n")
    answer = http.post("/api/v1/imports", json={"spec": spec().model_dump(mode="json"), "csv": long(1)})
    assert answer.status_code == 422
    assert [(row["field"], row["value"]) for row in answer.json()["errors"]] == [("spec.optimizers", 2)]
    with pytest.raises(InvalidInput, match="line3"):
        client.import_run(ONE, "update,train_loss\n1,1\n1,1\n")
    assert client.experiments() == []


def long(count: int) -> str:
    """Write a history of two columns."""
    lines = [f"{n},{100 / n!r},{n / 10!r}\n" for n in range(1, count + 1)]
    return "update,train_loss,seconds\n" + "".join(lines)


def test_a_long_file_is_one_request(client: BothClient) -> None:
    """A file over the limit of other requests is stored as one run."""
    text = long(40_000)
    assert len(text) > Settings().max_body_bytes
    run = client.import_run(ONE, text)
    assert (run.ended_by, run.summary.updates, run.summary.best_train_loss) == ("imported", 40_000, 100 / 40_000)
    columns = client.series([run.id], bucket=2**10)[run.id]
    assert columns["update"][-1] == 40_000
    assert columns["train_loss_max"][0] == 100.0
    assert len(client.experiments()) == 1


def test_nothing_is_stored_of_a_long_file_with_a_mistake(client: BothClient) -> None:
    """The error has the line of the mistake, behind rows that are good."""
    with pytest.raises(InvalidInput) as caught:
        client.import_run(ONE, long(30_000) + "30000,1,1\n")
    assert [(error.field, error.value) for error in caught.value.errors] == [("csv.line30002.update", 30_000)]
    assert client.experiments() == []


def test_what_breaks_off_leaves_nothing(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after some batches were stored rolls all of them back."""
    stored = iter([store_rows])

    def breaks(*given: Any) -> None:
        next(stored)(*given)

    monkeypatch.setattr(imports, "store_rows", breaks)
    with pytest.raises(StopIteration):
        services.imports.add(Import(spec=ONE, csv=long(imports._BATCH_ROWS + 1)))
    assert list(services.experiments.list()) == []
    with services.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(UPDATES)) == 0


def test_the_body_of_an_import_has_its_own_limit(settings: Settings) -> None:
    """An import may be larger than other bodies, up to a limit; other routes keep theirs."""
    body = {"spec": ONE.model_dump(mode="json"), "csv": long(100)}
    with backend(settings.model_copy(update={"max_body_bytes": 1000, "max_import_bytes": 10_000})) as http:
        assert http.post("/api/v1/imports", json=body).status_code == 201
        assert http.post("/api/v1/imports", json=body | {"csv": long(1000)}).status_code == 413
        assert http.post("/api/v1/experiments", json=body).status_code == 413


def test_a_history_that_an_older_version_left_unfinished_is_read(client: BothClient, services: Services) -> None:
    """A run of which an older version awaited further rows is a finished run with the rows that came."""
    run = client.import_run(ONE, long(3))
    with services.database.write() as connection:
        connection.execute(update_of(RUNS).values(ended_by="import-unfinished"))
    found = client.run(run.id)
    assert (found.status, found.ended_by, found.summary) == (RunStatus.FINISHED, "import-unfinished", run.summary)
    assert client.series([run.id])[run.id]["update"] == [1, 2, 3]


def test_any_option_can_be_exported(client: BothClient, http: httpx.Client) -> None:
    """An option's number may be larger than 64 bits hold: a plug-in elsewhere may have such."""
    theirs = {"name": "unknown-here", "data": "theirs", "options": {"x": 2**70}}
    made = client.import_run(spec(optimizers=[Adam()], problem=theirs), "update,train_loss\n1,0.5\n")
    document = http.get(f"/api/v1/runs/{made.id}/export.json").json()
    assert document["run"]["config"]["problem"]["options"] == {"x": 2**70}
