"""Tests of imports: a history comes back as it went in, marked; a file that is not one is refused by its line."""

import httpx
import pytest

from backend.client import Client
from backend.errors import Conflict, InvalidInput, NotFound
from backend.formats.history_csv import parse, pieces
from backend.schemas.api import Claim
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from tests.backend.samples import block, spec, update, updates

BLOCKS = "block0_cg_iterations,block0_stop_reason,block1_cg_iterations,block1_stop_reason"
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
        parse(text)
    assert caught.value.errors[0].field == field


def test_a_file_is_one_run(client: Client, http: httpx.Client) -> None:
    """Several optimizers or seeds cannot have made one history; nothing is stored of a file that is refused."""
    with pytest.raises(InvalidInput, match=r"^optimizers is 2: at most 1: .*one optimizer and one seed$"):
        client.import_run(spec(), "update,train_loss\n1,1\n")
    with pytest.raises(InvalidInput, match=r"^seeds is 3: at most 1: .*one optimizer and one seed$"):
        client.import_run(ONE.model_copy(update={"seeds": [1, 2, 3]}), "update,train_loss\n1,1\n")
    answer = http.post("/api/v1/imports", json={"spec": spec().model_dump(mode="json"), "csv": long(1)})
    assert answer.status_code == 422
    assert [(row["field"], row["value"]) for row in answer.json()["errors"]] == [("spec.optimizers", 2)]
    with pytest.raises(InvalidInput, match="line3"):
        client.import_run(ONE, "update,train_loss\n1,1\n5,1\n")
    assert client.experiments() == []


def long(count: int, start: int = 1) -> str:
    """Write a history of two columns."""
    lines = [f"{n},{100 / n!r},{n / 10!r}\n" for n in range(start, start + count)]
    return "update,train_loss,seconds\n" + "".join(lines)


def test_a_long_file_comes_in_pieces(client: Client) -> None:
    """A file of more than one request may hold is one run, whole and marked as such."""
    text = long(40_000)
    assert len(text) > 1_200_000
    run = client.import_run(ONE, text)
    assert (run.ended_by, run.summary.updates, run.summary.best_train_loss) == ("imported", 40_000, 100 / 40_000)
    columns = client.series([run.id], bucket=2**10)[run.id]
    assert columns["update"][-1] == 40_000
    assert columns["train_loss_max"][0] == 100.0
    assert len(client.experiments()) == 1


def test_a_long_file_is_checked_before_any_of_it_is_sent(client: Client) -> None:
    """The error names the line of the whole file, and nothing is stored."""
    with pytest.raises(InvalidInput, match=r"csv.line30002.update is 30002: .* 30001 is next"):
        client.import_run(ONE, long(30_000) + "30002,1,1\n")
    assert client.experiments() == []


def test_a_piece_may_be_repeated_but_none_left_out(client: Client, http: httpx.Client) -> None:
    """What is stored is skipped; a gap names the line that is missing; after the last piece none is taken."""
    first = {"spec": ONE.model_dump(mode="json"), "csv": long(10), "more": True}
    run = http.post("/api/v1/imports", json=first).json()
    assert (run["status"], run["ended_by"], run["summary"]["updates"]) == ("finished", "import-unfinished", 10)

    def send(start: int, count: int, *, more: bool) -> httpx.Response:
        return http.post(f"/api/v1/imports/{run['id']}", json={"csv": long(count, start), "more": more})

    gap = send(12, 3, more=True)
    assert (gap.status_code, gap.json()["errors"][0]["field"]) == (422, "csv.line13.update")
    assert send(9, 4, more=True).json()["summary"]["updates"] == 12
    for _ in range(2):
        last = send(13, 5, more=False)
        assert (last.status_code, last.json()["ended_by"], last.json()["summary"]["updates"]) == (200, "imported", 17)
    assert send(18, 1, more=False).status_code == 409
    assert client.series([run["id"]])[run["id"]]["update"] == list(range(1, 18))
    assert client.run(run["id"]).summary.last_train_loss == 100 / 17


def test_only_an_import_takes_pieces(claim: Claim, http: httpx.Client) -> None:
    """A run that is trained here, or is not there, takes none."""
    for run_id, kind, status in ((claim.run.id, Conflict, 409), ("nowhere0", NotFound, 404)):
        answer = http.post(f"/api/v1/imports/{run_id}", json={"csv": long(1)})
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:blockhf:{kind.code}")


def test_pieces_are_cut_between_rows(client: Client, claim: Claim) -> None:
    """Each has the header; a line end within a value is no end of a row; together they are the whole."""
    blocks = [block(1, note='two\nlines, "quoted"'), block(2)]
    client.append(claim.run.id, claim.token, [update(n, blocks=blocks) for n in range(1, 40)])
    text = client.export(claim.run.id)
    header, _, body = text.partition("\n")
    parts = list(pieces(text, size=1000))
    assert len(parts) > 5
    assert "".join(part.removeprefix(header + "\n") for part in parts) == body
    found = [row for part in parts for row in parse(part, whole=False)]
    assert found == parse(text)
    assert [row.update for row in found] == list(range(1, 40))


def test_any_option_can_be_exported(client: Client, http: httpx.Client) -> None:
    """An option's number may be larger than 64 bits hold: a plug-in elsewhere may have such."""
    theirs = {"name": "unknown-here", "data": "theirs", "options": {"x": 2**70}}
    made = client.import_run(spec(optimizers=[Adam()], problem=theirs), "update,train_loss\n1,0.5\n")
    document = http.get(f"/api/v1/runs/{made.id}/export.json").json()
    assert document["run"]["config"]["problem"]["options"] == {"x": 2**70}
