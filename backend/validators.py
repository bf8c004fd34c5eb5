"""ETags: a reader that says what it holds gets 304 and no body where nothing has changed."""

from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MAX_BYTES = 8_000_000


class Validators:
    """ASGI middleware that names the content of each good answer to GET; streams pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the beginning of an answer back until its body is known."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match", "")
        held: list[Message] = []

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_whole(message):
                held.append(message)
            elif held:
                await _answer(held.pop(), message, known, send)
            else:
                await send(message)

        await self._app(scope, receive, named)


def _is_whole(start: Message) -> bool:
    """Tell whether one message will have the whole body, and the body is no large file."""
    length = Headers(raw=start["headers"]).get("content-length")
    return start["status"] == 200 and length is not None and int(length) <= _MAX_BYTES


async def _answer(start: Message, body: Message, known: str, send: Send) -> None:
    content = body.get("body", b"")
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = MutableHeaders(raw=start["headers"])
    headers["ETag"] = tag
    if tag in {part.strip().removeprefix("W/") for part in known.split(",")}:
        for name in ("Content-Length", "Content-Type"):
            del headers[name]
        await send({**start, "status": 304, "headers": headers.raw})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await send({**start, "headers": headers.raw})
    await send(body)
