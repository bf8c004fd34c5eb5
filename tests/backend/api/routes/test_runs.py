"""Tests of the runs' routes."""

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import httpx
import pytest

from backend.api.routes import runs
from backend.api.services import FILES_AT_ONCE
from backend.metrics import reader
from backend.schemas.api import Claim
from tests.backend.samples import updates
from tests.clients import BothClient


def test_export_is_a_file(http: httpx.Client, client: BothClient, claim: Claim) -> None:
    """The export is CSV under the run's id, complete beyond one page, every line as wide as the header."""
    count = reader._PAGE + 1
    client.append(claim.run.id, claim.claim_number, updates(1, count))
    answer = http.get(f"/api/v1/runs/{claim.run.id}/export.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{claim.run.id}.csv"'
    header, *lines = csv.reader(io.StringIO(answer.text))
    assert [int(line[0]) for line in lines] == list(range(1, count + 1))
    assert {len(line) for line in lines} == {len(header)}


def test_export_of_an_unknown_run_is_not_found(http: httpx.Client) -> None:
    """An error comes before the file begins."""
    assert http.get("/api/v1/runs/nowhere0/export.csv").status_code == 404


def test_cancel_of_an_ended_run_is_a_conflict(http: httpx.Client, client: BothClient, claim: Claim) -> None:
    """A cancel is a 202 while the run can still be cancelled, then a 409."""
    path = f"/api/v1/runs/{claim.run.id}/cancel"
    assert http.post(path).status_code == 202
    client.finish(claim.run.id, claim.claim_number, "finished")
    assert http.post(path).status_code == 409


def test_exports_leave_room_for_others(http: httpx.Client, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many requested files, few are generated at a time, and other calls are answered meanwhile."""
    begun, go_on = Semaphore(0), Event()

    def slow(_reading: object) -> Iterator[bytes]:
        begun.release()
        assert go_on.wait(60)
        yield b"done"

    monkeypatch.setattr(runs, "to_csv", slow)
    with ThreadPoolExecutor(50) as threads:
        answers = [threads.submit(http.get, f"/api/v1/runs/{claim.run.id}/export.csv") for _ in range(50)]
        try:
            assert all(begun.acquire(timeout=60) for _ in range(FILES_AT_ONCE))
            assert http.get("/api/v1/runs").status_code == 200
            assert not begun.acquire(timeout=0.2)
        finally:
            go_on.set()
        assert {answer.result().text for answer in answers} == {"done"}
