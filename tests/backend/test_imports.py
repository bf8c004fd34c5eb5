"""Tests of imports: a history comes back as it went in, marked; a file that is not one is refused by its line."""

import pytest

from backend.client import Client
from backend.errors import InvalidInput
from backend.imports import parse
from backend.schemas import Adam, Claim, RunStatus
from tests.backend.samples import spec, updates

pytestmark = pytest.mark.every_database
ONE = spec(name="elsewhere", optimizers=[Adam(gradient_batch=10)], problem={"name": "unknown-here", "data": "theirs"})


def test_an_export_can_be_imported(client: Client, claim: Claim) -> None:
    """What was exported comes back in every column, with blocks and summary, and is marked as imported."""
    client.append(claim.run.id, claim.token, updates(1, 1200))
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
    assert "not trained here" in run.notes[0]


def test_little_is_needed(client: Client) -> None:
    """The number of the update and one measure are a history, without any worker."""
    run = client.import_run(ONE, "update,test_loss,seconds\n1,5.5,0.1\n2,,0.2\n3,4.5,0.3\n")
    columns = client.series([run.id])[run.id]
    assert columns["test_loss"] == [5.5, None, 4.5]
    assert columns["seconds"] == [0.1, 0.2, 0.3]
    assert columns["cpu_seconds"] == columns["scale"] == [None, None, None]
    assert (run.summary.best_test_loss, run.summary.updates) == (4.5, 3)


def test_imported_runs_are_never_claimed(client: Client, worker: str) -> None:
    """No worker trains them."""
    client.import_run(spec(optimizers=[Adam(gradient_batch=10)]), "update,test_loss\n1,5.5\n")
    assert client.claim(worker) is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "csv"),
        ("update,train_loss\n", "csv"),
        ("train_loss\n1\n", "csv"),
        ("update,seconds\n1,1\n", "csv"),
        ("update,train_loss,nope\n1,1,1\n", "csv"),
        ("update,update,train_loss\n1,1,1\n", "csv"),
        ("update,train_loss\n2,1\n", "csv.line2.update"),
        ("update,train_loss\n1,1\n1,1\n", "csv.line3.update"),
        ("update,train_loss\n1,1\n3,1\n", "csv.line3.update"),
        ("update,train_loss\n1,nan\n", "csv.line2.train_loss"),
        ("update,train_loss\n1,1e999\n", "csv.line2.train_loss"),
        ("update,train_loss\n1,=cmd()\n", "csv.line2.train_loss"),
        ("update,train_loss\n1\n", "csv.line2"),
        ("update,train_loss\n1,2,3\n", "csv.line2"),
        ('update,train_loss\n1,"2\n', "csv.line2"),
        ("update,train_loss,block0_residual\n1,2,3\n", "csv.line2.blocks.0.cg_iterations"),
        ("update,train_loss,block999_residual_\n1,2,3\n", "csv"),
    ],
)
def test_what_is_no_history_is_refused(text: str, field: str) -> None:
    """The error names the line and the column."""
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert caught.value.errors[0].field == field


def test_a_file_is_one_run(client: Client) -> None:
    """Several optimizers or seeds cannot have made one history; nothing is stored of a file that is refused."""
    with pytest.raises(InvalidInput, match="one optimizer and one seed"):
        client.import_run(spec(), "update,train_loss\n1,1\n")
    with pytest.raises(InvalidInput, match="line3"):
        client.import_run(ONE, "update,train_loss\n1,1\n5,1\n")
    assert client.experiments() == []
