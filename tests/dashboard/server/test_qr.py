"""QR codes as the browser asks for them."""

import asyncio

import pytest
from starlette.requests import Request

from dashboard.server.qr import MAX_CHARACTERS, qr_code


def answered(query: str) -> tuple[int, bytes]:
    """Return status and body of the answer to a query."""
    scope = {"type": "http", "method": "GET", "query_string": query.encode(), "headers": []}
    answer = asyncio.run(qr_code(Request(scope)))
    return answer.status_code, bytes(answer.body)


def test_a_text_has_its_code() -> None:
    """Different texts have different codes, the longest one included."""
    codes = {answered(f"text={text}") for text in ("a", "b", "x" * MAX_CHARACTERS)}
    assert {status for status, _ in codes} == {200}
    assert len(codes) == 3
    assert all(b"<svg " in body for _, body in codes)


@pytest.mark.parametrize("query", ["", "text=", f"text={'x' * (MAX_CHARACTERS + 1)}", f"text={'%C3%A4' * 1000}"])
def test_no_text_and_a_long_one_are_refused(query: str) -> None:
    """A code of a longer text has more dots than a phone can read."""
    assert answered(query)[0] == 422
