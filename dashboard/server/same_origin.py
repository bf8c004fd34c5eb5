"""Same-origin rules: pages of other sites can neither send requests to the dashboard nor embed it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import Forbidden
from backend.security.origin import foreign_page

HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SameOrigin:
    """Middleware around pages, routes and websockets. It accepts links that a user follows from another site."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse cross-site requests, and add headers that forbid embedding the answer."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if not foreign_page(Headers(scope=scope), links=True):
            await self.app(scope, receive, with_headers)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            error = Forbidden("requests from pages of other sites are not allowed")
            refusal = JSONResponse(error.body(), error.status, media_type="application/problem+json")
            await refusal(scope, receive, with_headers)
