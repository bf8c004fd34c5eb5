"""Tests of the health routes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from backend.settings import Settings
from tests.inprocess import backend


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_good_backend_is_ok(http: httpx.Client, prefix: str, path: str) -> None:
    """Both questions are answered at both places."""
    answer = http.get(prefix + path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_broken_database_is_not_ready(tmp_path: Path) -> None:
    """A backend that cannot read its database is not ready; its process is still healthy."""
    with backend(Settings(home=tmp_path)) as http:
        with closing(sqlite3.connect(tmp_path / "blockhf.sqlite3")) as other:
            other.execute("DROP TABLE alembic_version")
        answer = http.get("/ready")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:blockhf:unavailable")
        assert http.get("/health").status_code == 200
