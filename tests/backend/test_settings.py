"""Tests of the settings' addresses."""

import pytest
from pydantic import ValidationError

from backend.settings import Settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8700"),
        ("0.0.0.0", "http://127.0.0.1:8700"),
        ("::", "http://[::1]:8700"),
        ("example.org", "http://example.org:8700"),
    ],
)
def test_the_backend_is_reached_where_it_listens(host: str, url: str) -> None:
    """A wildcard address is reached by loopback, an IPv6 address in brackets."""
    assert Settings(host=host, backend_url="").api == url


def test_a_given_url_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLOCKHF_BACKEND_URL says where the backend is, whatever the address and port."""
    monkeypatch.setenv("BLOCKHF_BACKEND_URL", "http://elsewhere:1")
    assert Settings().api == "http://elsewhere:1"


def test_a_lease_is_at_least_three_heartbeats() -> None:
    """A lease that one late heartbeat could cost a worker is refused with both settings' names."""
    assert Settings(lease_seconds=6, heartbeat_seconds=2).lease_seconds == 6
    with pytest.raises(ValidationError, match=r"BLOCKHF_LEASE_SECONDS.*BLOCKHF_HEARTBEAT_SECONDS.*3 times"):
        Settings(lease_seconds=5.9, heartbeat_seconds=2)
