"""Tests of the rules on Host and Origin."""

import pytest
from starlette.datastructures import Headers

from backend.security.origin import allowed_host, foreign_page

NAMES = {"localhost", "[::1]", "127.0.0.1"}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True), ("LOCALHOST:8700", True), ("[::1]", True), ("[::1]:8700", True), ("127.0.0.1:9", True),
        ("", False), (":8700", False), ("evil.example", False), ("localhost.evil.example", False), ("[::1", False),
        ("::1", False), ("localhost@evil.example", False), ("[::1]evil.example", False),
    ],
)  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    """The port does not matter, nor does case; nothing else may differ."""
    assert allowed_host(Headers({"host": host}), NAMES) is allowed


@pytest.mark.parametrize(
    ("headers", "foreign", "with_links"),
    [
        ({}, False, False),
        ({"origin": "http://localhost:1"}, False, False),
        ({"origin": "http://localhost"}, True, True),
        ({"origin": "null"}, True, True),
        ({"sec-fetch-site": "same-origin"}, False, False),
        ({"sec-fetch-site": "cross-site"}, True, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "origin": "http://evil"}, True, True),
    ],
)
def test_pages(headers: dict[str, str], foreign: bool, with_links: bool) -> None:
    """Another origin is foreign, and what the browser marks as cross-site; a link may be allowed."""
    sent = Headers({"host": "localhost:1"} | headers)
    assert foreign_page(sent) is foreign
    assert foreign_page(sent, links=True) is with_links
