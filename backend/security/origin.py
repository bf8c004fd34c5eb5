"""Rules on the headers Host, Origin and Sec-Fetch-Site that refuse requests from pages of other sites.

Such a page can reach this process by its own host name (DNS rebinding: Host), or by requests across sites (Origin,
Sec-Fetch-Site).
"""

import re
from collections.abc import Collection

from starlette.datastructures import Headers

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]+)(:[0-9]*)?")
"""A name or an IPv6 address in brackets, and an optional port."""


def allowed_host(headers: Headers, names: Collection[str]) -> bool:
    """Return whether the Host header, without its port, is one of these lower-case names."""
    host = _HOST.fullmatch(headers.get("host", "").lower())
    return host is not None and host[1] in names


def foreign_page(headers: Headers, *, links: bool = False) -> bool:
    """Return whether a page of another site sent the request; with `links`, followed links are accepted."""
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower():
        return True
    navigates = links and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site") == "cross-site" and not navigates
