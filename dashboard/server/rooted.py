"""Tells Streamlit's script in a page where its server is, which it would else look for below the page's own path."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGE = re.compile(r"/[a-z]*")
_HEAD = b"<head>"
_SCRIPT = b'<script>window.__streamlit = { BACKEND_BASE_URL: location.origin + "/" }</script>'


class Rooted:
    """Middleware that writes the server's address into pages.

    Without it /launch asks for /launch/_stcore/health first, gets 404, and only then for /_stcore/health: two errors in
    the browser's console and one more round trip before a page starts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request; add the script to the answer where it is a page."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _PAGE.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        held: list[Message] = []

        async def writing(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(message):
                held.append(message)
            elif not held:
                await send(message)
            else:
                held.append(message)
                if not message.get("more_body", False):
                    await _write(held, send)

        open_text = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app(dict(scope, headers=open_text), receive, writing)


def _is_page(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    return headers.get("content-type", "").startswith("text/html") and start["status"] == 200


async def _write(held: list[Message], send: Send) -> None:
    start, *parts = held
    body = b"".join(part.get("body", b"") for part in parts).replace(_HEAD, _HEAD + _SCRIPT, 1)
    MutableHeaders(scope=start)["content-length"] = str(len(body))
    await send(start)
    await send({"type": "http.response.body", "body": body})
