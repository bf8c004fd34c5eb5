"""Tests of exports: all formats hold the same rows."""

import csv
import io
import json

import httpx
import pandas
import pytest
from pyarrow import parquet

from backend.errors import InvalidInput
from backend.schemas.api import Claim
from backend.schemas.runs import Run
from tests.backend.samples import update, updates
from tests.clients import BothClient


@pytest.fixture
def csv_rows(client: BothClient, claim: Claim) -> list[dict[str, str]]:
    """Report 25 rows, of which one has gaps; read them back as CSV."""
    client.append(
        claim.run.id, claim.claim_number, [*updates(1, 24), update(25, train_loss=None, diverged=True, blocks=[])]
    )
    return list(csv.DictReader(io.StringIO(client.export(claim.run.id))))


def get(http: httpx.Client, claim: Claim, kind: str) -> httpx.Response:
    """Fetch an export."""
    answer = http.get(f"/api/v1/runs/{claim.run.id}/export.{kind}")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{claim.run.id}.{kind}"'
    return answer


def as_csv(values: list[object]) -> list[str]:
    """Write values as the CSV export does."""
    return ["" if value is None else str(value) for value in values]


def test_json_has_the_same_rows(http: httpx.Client, claim: Claim, csv_rows: list[dict[str, str]]) -> None:
    """Columns of JSON are those of the CSV file, beside the run."""
    document = get(http, claim, "json").json()
    assert Run.model_validate(document["run"]).id == claim.run.id
    assert list(document["columns"]) == list(csv_rows[0])
    for name, column in document["columns"].items():
        assert as_csv(column) == [row[name] for row in csv_rows]


def test_parquet_has_the_same_rows(http: httpx.Client, claim: Claim, csv_rows: list[dict[str, str]]) -> None:
    """Columns of Parquet are those of the CSV file, typed; the run is in the file's metadata."""
    content = get(http, claim, "parquet").content
    table = parquet.read_table(io.BytesIO(content))
    assert table.column_names == list(csv_rows[0])
    for name in table.column_names:
        assert as_csv(table.column(name).to_pylist()) == [row[name] for row in csv_rows]
    assert json.loads(table.schema.metadata[b"blockhf.run"])["id"] == claim.run.id
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert (kinds["update"], kinds["block0_stop_reason"], kinds["diverged"]) == ("int64", "string", "bool")
    frame = pandas.read_parquet(io.BytesIO(content))
    assert frame["train_loss"].isna().tolist() == [False] * 24 + [True]


def test_no_rows_are_an_export(http: httpx.Client, claim: Claim) -> None:
    """A run without rows gives empty columns; one that does not exist gives 404."""
    assert get(http, claim, "json").json()["columns"]["update"] == []
    assert parquet.read_table(io.BytesIO(get(http, claim, "parquet").content)).num_rows == 0
    for kind in ("json", "parquet"):
        assert http.get(f"/api/v1/runs/nowhere0/export.{kind}").status_code == 404


def test_files_are_fetched(
    http: httpx.Client, client: BothClient, claim: Claim, csv_rows: list[dict[str, str]]
) -> None:
    """The client fetches each kind as bytes and knows no other."""
    assert csv_rows
    assert client.export_file(claim.run.id, "csv").decode() == client.export(claim.run.id)
    assert client.export_file(claim.run.id, "json") == get(http, claim, "json").content
    assert client.export_file(claim.run.id, "parquet")[:4] == b"PAR1"
    with pytest.raises(InvalidInput, match=r"^kind is 'pickle': must be one of csv, json, parquet$"):
        client.export_file(claim.run.id, "pickle")
