"""Tests of ETags."""

import httpx
import pytest

from backend.client import Client
from backend.schemas.api import Claim
from tests.backend.samples import updates


@pytest.mark.parametrize(
    "path",
    [
        "runs",
        "runs/{id}",
        "experiments",
        "catalog",
        "series?runs={id}",
        "series?runs={id}&bucket=2",
        "runs/{id}/export.csv",
        "runs/{id}/export.json",
        "runs/{id}/export.parquet",
    ],
)
def test_what_is_known_is_not_sent_again(http: httpx.Client, client: Client, claim: Claim, path: str) -> None:
    """With the tag of its last answer a reader gets 304 until something changes."""
    client.append(claim.run.id, claim.token, updates(1, 3))
    url = f"/api/v1/{path.format(id=claim.run.id)}"
    first = http.get(url)
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = http.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Type" not in again.headers
    assert http.get(url, headers={"If-None-Match": '"other"'}).content == first.content
    client.append(claim.run.id, claim.token, updates(4, 4))
    client.cancel(claim.run.id)
    if path != "catalog":
        changed = http.get(url, headers={"If-None-Match": tag})
        assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True)


def test_errors_have_no_tag(http: httpx.Client) -> None:
    """An error is reported each time."""
    assert "ETag" not in http.get("/api/v1/runs/nowhere0").headers
