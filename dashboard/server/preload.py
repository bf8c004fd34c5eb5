"""Has a browser fetch what a page of curves will need while Streamlit's own scripts still load."""

import re
from functools import cache

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.ui.theme import STATIC

PAGES = ("/", "/run")  # those with curves
_ENTRIES = ("live.js", "panels/backend_banner.js")


class Preload:
    """Middleware that names the scripts in a Link header (RFC 8288) of the pages that will import them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request; add the header to the answer where it is such a page."""
        if scope["type"] != "http" or scope["path"] not in PAGES:
            await self.app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("link", links())
            await send(message)

        await self.app(scope, receive, telling)


@cache
def links() -> str:
    """Return the header's value: our scripts with all that they import, plotly.js, the style sheets."""
    parts = [f"</assets/{name}>; rel=modulepreload" for name in imported(*_ENTRIES)]
    parts += ["</plotly.min.js>; rel=preload; as=script"]
    parts += [f"</assets/{name}>; rel=preload; as=style" for name in ("live.css", "pages.css")]
    return ", ".join(parts)


def imported(*entries: str) -> list[str]:
    """List scripts and those that they import, each once."""
    found = dict.fromkeys(entries)
    waiting = list(entries)
    while waiting:
        names = re.findall(r'from "\./([\w.]+)"', (STATIC / waiting.pop()).read_text())
        waiting += [name for name in names if name not in found]
        found |= dict.fromkeys(names)
    return list(found)
