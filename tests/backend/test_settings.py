"""Tests of the settings' addresses."""

import pytest

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
