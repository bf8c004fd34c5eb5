"""Who may ask, and how often: Host, Origin, tokens, limits on rates and the body, headers that browsers obey.

Together they stop pages of other sites: by a name that they made point here (Host), or by a request that the browser
sends for them (Origin, Sec-Fetch-Site). A token travels in a header, never in a cookie that a browser would add.
"""

import math
import re
from collections.abc import Callable, Iterable
from functools import partial

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from backend.api.error_responses import response, unforeseen
from backend.errors import BadRequest, BlockHFError, Forbidden, TooLarge, TooManyRequests, Unauthorized
from backend.limits import RateLimit, network_of
from backend.security.tokens import EVERYTHING, Scope, Tokens, fingerprint

PUBLIC = frozenset({"/health", "/ready", "/api/v1/health", "/api/v1/ready"})
"""What may be read without a token: that the process answers."""

IMPORTS = "/api/v1/imports"
"""The one route that accepts a larger body."""

_SCOPES = "blockhf.scopes"
_STILL = "blockhf.still-reads"
_OF_WORKERS = re.compile(r"/api/v1/(workers(/.*)?|runs/[^/]*/(heartbeat|start|updates|finish))")
"""What workers alone call: counted apart, so that nobody who reads too much keeps rows from coming in."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware around everything else, so that no route can be forgotten.

    Args:
        app: what is behind it.
        allowed_hosts: names that a request may give in its Host header.
        tokens: who is let in.
        max_body_bytes: the largest body.
        max_import_bytes: the largest body of an import, which holds a whole history.
        address_rate: requests per second from one address; 0: no limit.
        token_rate: requests per second by one token; 0: no limit.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Iterable[str],
        tokens: Tokens,
        max_body_bytes: int,
        max_import_bytes: int,
        address_rate: float = 0,
        token_rate: float = 0,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._addresses = RateLimit(address_rate, what="address", setting="BLOCKHF_ADDRESS_RATE")
        self._of_tokens = RateLimit(token_rate, what="token", setting="BLOCKHF_TOKEN_RATE")
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._max_body_bytes = max_body_bytes
        self._max_import_bytes = max_import_bytes

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            self._check_rate(scope)
            self._check(scope)
            scope[_SCOPES] = self._scopes(scope)
            scope[_STILL] = partial(self._still_reads, scope)
            body = await self._body(scope, receive)
        except BlockHFError as error:
            answer = response(error)
            if isinstance(error, Unauthorized):
                answer.headers["WWW-Authenticate"] = "Bearer"
            if isinstance(error, TooManyRequests):
                answer.headers["Retry-After"] = str(math.ceil(error.retry_after))
            await answer(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, _replay(body, receive), send_with_headers)
        except Exception as error:
            answer = unforeseen(scope["method"], scope["path"], error)
            if begun:  # the connection breaks, so that nobody takes half an answer for a whole one
                raise
            await answer(scope, receive, send_with_headers)

    def _check_rate(self, scope: Connection) -> None:
        """Count a request of its address; health may always be asked."""
        if not _public(scope):
            address = scope["client"][0] if scope.get("client") else ""
            self._addresses.take(f"{_sender(scope)} {network_of(address)}")

    def _check(self, scope: Connection) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if _name(host) not in self._hosts:
            allowed = ", ".join(sorted(self._hosts))
            raise Forbidden(f"Host {host[:200]!r} is not allowed; BLOCKHF_ALLOWED_HOSTS has {allowed}")
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            raise Forbidden(f"requests from pages of {origin[:200]!r} are not allowed")
        if headers.get("sec-fetch-site") == "cross-site":
            raise Forbidden("requests from pages of other sites are not allowed")

    def _scopes(self, scope: Connection) -> frozenset[Scope]:
        """Return what the request may do; raise Unauthorized where its token is not known."""
        scopes = self._granted(scope)
        if scopes is None:
            raise Unauthorized("a token that this backend knows is needed, as Authorization: Bearer TOKEN")
        if self._needs_token(scope):
            self._of_tokens.take(f"{_sender(scope)} {fingerprint(_token(scope))}")
        return scopes

    def _granted(self, scope: Connection) -> frozenset[Scope] | None:
        """Return what the request may do as tokens are now; None where its token is not known."""
        if not self._needs_token(scope):
            return EVERYTHING
        token = _token(scope)
        return self._tokens.scopes(token) if token else None

    def _needs_token(self, scope: Connection) -> bool:
        return self._tokens.required and not _public(scope)

    def _still_reads(self, scope: Connection) -> bool:
        try:
            return Scope.READ in (self._granted(scope) or ())
        except BlockHFError:  # the tokens cannot be read: nobody is let in
            return False

    async def _body(self, scope: Connection, receive: Receive) -> bytes:
        """Read the whole body, or refuse it as soon as it is known to be too large."""
        most = self._max_import_bytes if scope["path"] == IMPORTS else self._max_body_bytes
        limit = f"the body may hold at most {most} bytes"
        announced = Headers(scope=scope).get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            raise BadRequest(f"Content-Length {announced[:40]!r} is not a number")
        if int(announced[:20]) > most:
            raise TooLarge(limit)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the connection broke before the body's end")
            body += message.get("body", b"")
            if len(body) > most:
                raise TooLarge(limit)
            if not message.get("more_body", False):
                return bytes(body)


# Both are coroutines, as is the store's: a plain function would be sent to a thread and back for each request.
async def for_users(request: Request) -> None:
    """Let pass whoever may read, or launch where something changes."""
    _require(request, Scope.READ if request.method in {"GET", "HEAD"} else Scope.LAUNCH)


async def for_workers(request: Request) -> None:
    """Let pass whoever may work."""
    _require(request, Scope.WORKER)


def still_reads(request: Request) -> bool:
    """Tell whether a request that has been let in would be let in now: its token may have been deleted."""
    asked: Callable[[], bool] = request.scope[_STILL]
    return asked()


def _require(request: Request, scope: Scope) -> None:
    if scope not in request.scope.get(_SCOPES, ()):
        raise Forbidden(f"this needs a token with the scope {scope.value}")


def _public(scope: Connection) -> bool:
    return scope["path"] in PUBLIC and scope["method"] == "GET"


def _sender(scope: Connection) -> str:
    return "worker" if scope["method"] == "POST" and _OF_WORKERS.fullmatch(scope["path"]) else "user"


def _token(scope: Connection) -> str:
    """Return the token that a request carries, or an empty text."""
    kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand over the body once; after it, wait for what the server still has to say."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


def _name(host: str) -> str:
    """Take the port off a Host header; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
