"""Tests of the series' route."""

import httpx

from backend.schemas.api import Claim
from tests.backend.samples import update, updates
from tests.clients import BothClient


def test_columns_of_several_runs(http: httpx.Client, client: BothClient, claim: Claim) -> None:
    """Each run is read after its own update, in the requested order; a flag may be 0 or 1."""
    client.append(claim.run.id, claim.claim_number, updates(1, 3))
    other = next(run.id for run in client.runs() if run.id != claim.run.id)
    query = {"runs": f"{other},{claim.run.id}", "after": "0,1", "fields": "cost,train_loss", "blocks": "0"}
    answer = http.get("/api/v1/series", params=query)
    assert answer.headers["Content-Type"] == "application/json"
    head = {"row_generation": 1, "last_update": 3, "status": "running"}
    assert answer.json() == {
        "runs": {
            other: {
                "status": "queued",
                "row_generation": 0,
                "last_update": 0,
                "update": [],
                "cost": [],
                "train_loss": [],
            },
            claim.run.id: head | {"update": [2, 3], "cost": [4.0, 6.0], "train_loss": [45.0, 30.0]},
        }
    }


def test_a_part_of_each_run(http: httpx.Client, client: BothClient, claim: Claim) -> None:
    """Each run ends at its own `until`; as many of these are needed as runs."""
    client.append(claim.run.id, claim.claim_number, updates(1, 5))
    found = client.series([claim.run.id], after=[1], until=[3], fields=["cost"])
    assert found[claim.run.id]["update"] == [2, 3]
    refused = http.get("/api/v1/series", params={"runs": claim.run.id, "until": "1,2"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "until")


def test_values_that_are_not_finite_are_null(http: httpx.Client, client: BothClient, claim: Claim) -> None:
    """A mean that overflows is null, since JSON has no infinity."""
    rows = [update(n, train_loss=1.7e308) for n in (2, 3)]
    client.append(claim.run.id, claim.claim_number, [update(1), *rows])
    answer = http.get("/api/v1/series", params={"runs": claim.run.id, "bucket": 2, "fields": "train_loss"})
    columns = answer.json()["runs"][claim.run.id]
    assert columns["train_loss"] == [90.0, None]
    assert columns["train_loss_max"] == [90.0, 1.7e308]


def test_a_run_named_twice_is_answered_once(http: httpx.Client, claim: Claim) -> None:
    """Ids that are repeated share one answer."""
    answer = http.get("/api/v1/series", params={"runs": f"{claim.run.id},{claim.run.id}"})
    assert list(answer.json()["runs"]) == [claim.run.id]


def test_unknown_runs_are_not_found(http: httpx.Client, claim: Claim) -> None:
    """One unknown run makes the whole answer a 404."""
    assert http.get("/api/v1/series", params={"runs": f"{claim.run.id},nowhere0"}).status_code == 404
