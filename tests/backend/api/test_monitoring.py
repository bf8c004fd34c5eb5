"""Tests of what an operator sees: metrics that Prometheus can read, and logs that name the run."""

import json
import logging
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from backend.api.logging import JsonLines, PlainLines
from backend.schemas.api import Claim
from backend.settings import Settings
from tests.backend.samples import Clock, updates
from tests.clients import BothClient
from tests.inprocess import backend


def samples(http: httpx.Client) -> dict[str, float]:
    """Read the metrics; a name has its labels' values behind it."""
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {" ".join([s.name, *s.labels.values()]): s.value for family in families for s in family.samples}


def test_metrics_count_what_happened(http: httpx.Client, client: BothClient, claim: Claim, clock: Clock) -> None:
    """Rows, runs, workers, the lease's age and requests follow what was done; a replay is not counted."""
    for _ in range(2):
        client.append(claim.run.id, claim.claim_number, updates(1, 7))
    clock.now += 5
    found = samples(http)
    assert found["blockhf_rows_total"] == 7
    assert (found["blockhf_runs queued"], found["blockhf_runs running"], found["blockhf_runs failed"]) == (1, 1, 0)
    assert found["blockhf_workers"] == 1
    assert found["blockhf_lease_age_seconds"] == 5
    assert found["blockhf_request_seconds_count POST /api/v1/runs/{run_id}/updates 200"] == 2


def test_strangers_make_no_series(http: httpx.Client) -> None:
    """Unknown paths and methods share one label, so that they cannot exhaust the memory."""
    for n in range(20):
        http.request(f"M{n}", f"/nowhere/{n}")
        http.get(f"/api/v1/runs/somerun{n:02}")
        http.request(f"M{n}", "/api/v1/runs")
    counts = {name: value for name, value in samples(http).items() if name.startswith("blockhf_request_seconds_count")}
    assert counts == {
        "blockhf_request_seconds_count any unknown 404": 20,
        "blockhf_request_seconds_count any /api/v1/runs 405": 20,
        "blockhf_request_seconds_count GET /api/v1/runs/{run_id} 404": 20,
    }


def test_applications_do_not_share_metrics(http: httpx.Client, tmp_path: Path) -> None:
    """Each application counts for itself."""
    http.get("/health")
    with backend(Settings(home=tmp_path / "other")) as other:
        assert not any("/health" in name for name in samples(other))
    assert samples(http)["blockhf_request_seconds_count GET /health 200"] == 1


def test_metrics_need_a_token(settings: Settings) -> None:
    """Where tokens are needed, the metrics need one that reads."""
    with backend(settings.model_copy(update={"token": SecretStr("a-token-that-is-long-enough")})) as http:
        assert http.get("/metrics").status_code == 401


def test_changes_are_logged_with_their_ids(client: BothClient, claim: Claim, caplog: pytest.LogCaptureFixture) -> None:
    """A change is one line with the run's id; what comes often is only for debugging."""
    with caplog.at_level(logging.INFO):
        client.heartbeat(claim.run.id, claim.claim_number)
        client.cancel(claim.run.id)
        client.run(claim.run.id)
    (record,) = [record for record in caplog.records if record.name == "backend.api.monitoring"]
    line = json.loads(JsonLines().format(record))
    assert (line["run_id"], line["route"], line["status"]) == (claim.run.id, "/api/v1/runs/{run_id}/cancel", 202)
    assert (line["level"], line["message"]) == ("info", "request")
    assert f"run_id={claim.run.id}" in PlainLines().format(record)


def test_nobody_writes_lines_of_his_own(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a path holds, a request is one line of the log, and no sequence for a terminal."""
    with caplog.at_level(logging.INFO):
        http.post("/api/v1/runs/abc%0Abackend%20ERROR%20disk%20full%1b%5b31m/cancel")
    (record,) = [record for record in caplog.records if record.name == "backend.api.monitoring"]
    line = PlainLines("backend %(levelname)s %(message)s").format(record)
    assert line.isprintable()
    assert line.startswith("backend INFO request route=")
    assert r"abc\nbackend ERROR disk full\x1b[31m" in line


def test_a_traceback_is_one_line() -> None:
    """An error stays one object on one line."""
    try:
        raise ValueError("broke\nhere")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "failed %s", ("now",), (ValueError, error, error.__traceback__)
        )
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "failed now"
    assert "broke" in json.loads(line)["traceback"]
