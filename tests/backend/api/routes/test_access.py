"""What the API says about a token's scopes."""

import httpx

from backend.schemas.api import Scope


def test_without_tokens_everything_is_allowed(http: httpx.Client) -> None:
    """A backend that asks for no token grants every scope."""
    assert http.get("/api/v1/access").json() == {"scopes": sorted(Scope)}
