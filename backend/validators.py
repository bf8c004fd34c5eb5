"""ETags: a reader that says what it holds gets 304 and no body where nothing has changed."""

from collections.abc import Iterable
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def etag(content: Iterable[bytes]) -> str:
    """Name a content by its SHA-256."""
    digest = sha256()
    for piece in content:
        digest.update(piece)
    return tag_of(digest.hexdigest())


def tag_of(sha256: str) -> str:
    """Write a SHA-256 as an ETag."""
    return f'"{sha256[:32]}"'


class Validators:
    """ASGI middleware that names the content of each good answer to GET where it does not do so itself.

    Streams, whose content is not known when they begin, pass as they are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the beginning of an answer back until its body is known."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = {part.strip().removeprefix("W/") for part in Headers(scope=scope).get("if-none-match", "").split(",")}
        held: list[Message] = []
        is_known = False

        async def named(message: Message) -> None:
            nonlocal is_known
            if message["type"] == "http.response.start" and message["status"] == 200:
                held.append(message)
            elif held:
                start = held.pop()
                tag = _name(start, message)
                is_known = tag is not None and not known.isdisjoint({tag, "*"})
                await _unchanged(start, send) if is_known else await _send(start, message, send)
            elif not is_known:
                await send(message)

        await self._app(scope, receive, named)


def _name(start: Message, body: Message) -> str | None:
    """Return the answer's tag, and have its headers tell it; None: its content is not known yet."""
    headers = MutableHeaders(raw=start["headers"])
    if "etag" not in headers and not body.get("more_body"):
        headers["ETag"] = etag([body.get("body", b"")])
    start["headers"] = headers.raw
    return headers.get("etag")


async def _unchanged(start: Message, send: Send) -> None:
    headers = MutableHeaders(raw=start["headers"])
    for name in ("Content-Length", "Content-Type"):
        del headers[name]
    await send({**start, "status": 304, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(start: Message, body: Message, send: Send) -> None:
    await send(start)
    await send(body)
