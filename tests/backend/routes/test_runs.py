"""Tests of the runs' routes."""

import csv
import io

import httpx

from backend import readings
from backend.client import Client
from backend.schemas import Claim
from tests.backend.samples import updates


def test_export_is_a_file(http: httpx.Client, client: Client, claim: Claim) -> None:
    """The export is CSV under the run's id, complete beyond one page, every line as wide as the header."""
    count = readings._PAGE + 1
    client.append(claim.run.id, claim.token, updates(1, count))
    answer = http.get(f"/api/v1/runs/{claim.run.id}/export.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{claim.run.id}.csv"'
    header, *lines = csv.reader(io.StringIO(answer.text))
    assert [int(line[0]) for line in lines] == list(range(1, count + 1))
    assert {len(line) for line in lines} == {len(header)}


def test_export_of_an_unknown_run_is_not_found(http: httpx.Client) -> None:
    """An error comes before the file begins."""
    assert http.get("/api/v1/runs/nowhere0/export.csv").status_code == 404


def test_cancel_of_an_ended_run_is_a_conflict(http: httpx.Client, client: Client, claim: Claim) -> None:
    """A cancel is a 202 while the run can still be cancelled, then a 409."""
    path = f"/api/v1/runs/{claim.run.id}/cancel"
    assert http.post(path).status_code == 202
    client.finish(claim.run.id, claim.token, "finished")
    assert http.post(path).status_code == 409
