"""Rules on the headers Host, Origin and Sec-Fetch-Site, which keep pages of other sites out.

Such a page sends requests under a name that its owner made point here (Host), or the browser sends them for it (Origin,
Sec-Fetch-Site).
"""

import re
from collections.abc import Collection

from starlette.datastructures import Headers

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]+)(:[0-9]*)?")
"""A name, or an IPv6 address with its brackets, and perhaps a port."""


def allowed_host(headers: Headers, names: Collection[str]) -> bool:
    """Return whether the Host header, without its port, is one of these lower-case names."""
    host = _HOST.fullmatch(headers.get("host", "").lower())
    return host is not None and host[1] in names


def foreign_page(headers: Headers, *, links: bool = False) -> bool:
    """Return whether a browser sends a request for a page of another site; with `links`, following a link is none."""
    origin = headers.get("origin")
    if origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower():
        return True
    navigates = links and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site") == "cross-site" and not navigates
