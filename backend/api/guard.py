"""Who may send requests: Host, Origin, tokens, failed logins, the body's size, headers that browsers obey.

A token travels in a header, never in a cookie that a browser would add.
"""

import ipaddress
import math
import time
from collections.abc import Callable, Iterable

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from backend.api.error_responses import response, unforeseen
from backend.errors import BadRequest, BlockHFError, Forbidden, TooLarge, TooManyFailedLogins, Unauthorized
from backend.security.origin import allowed_host, foreign_page
from backend.security.tokens import EVERYTHING, Scope, Tokens, fingerprint

PUBLIC = frozenset({"/health", "/ready", "/api/v1/health", "/api/v1/ready"})
"""What may be read without a token: that the process answers."""

IMPORTS = "/api/v1/imports"
"""The one route that accepts a larger body."""

_SCOPES = "blockhf.scopes"

MAX_FAILURES = 10
"""wrong tokens per minute from one address; more are refused unread"""
_WINDOW_SECONDS = 60.0
_MAX_ADDRESSES = 10_000

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
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Iterable[str],
        tokens: Tokens,
        max_body_bytes: int,
        max_import_bytes: int,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._failed_logins = FailedLogins()
        self._accepted: set[str] = set()
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
            self._check(scope)
            scope[_SCOPES] = self._scopes(scope)
            body = await self._body(scope, receive)
        except BlockHFError as error:
            answer = response(error)
            if isinstance(error, Unauthorized):
                answer.headers["WWW-Authenticate"] = "Bearer"
            if isinstance(error, TooManyFailedLogins):
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

    def _check(self, scope: Connection) -> None:
        headers = Headers(scope=scope)
        if not allowed_host(headers, self._hosts):
            host, allowed = headers.get("host", "")[:200], ", ".join(sorted(self._hosts))
            raise Forbidden(f"Host {host!r} is not allowed; BLOCKHF_ALLOWED_HOSTS has {allowed}")
        if foreign_page(headers):
            raise Forbidden("requests from pages of other sites are not allowed")

    def _scopes(self, scope: Connection) -> frozenset[Scope]:
        """Return what the request may do.

        Raises:
            Unauthorized: its token is unknown.
            TooManyFailedLogins: its address sent too many unknown tokens. A token that was accepted before is still.
        """
        if _public(scope) or not self._tokens.required:
            return EVERYTHING
        token, address = _token(scope), _network(scope)
        known = fingerprint(token)
        if token and known not in self._accepted:
            self._failed_logins.check(address)
        scopes = self._tokens.scopes(token) if token else None
        if scopes is None:
            self._accepted.discard(known)
            if token:
                self._failed_logins.add(address)
            raise Unauthorized("a token that this backend knows is needed, as Authorization: Bearer TOKEN")
        self._accepted.add(known)
        return scopes

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


class FailedLogins:
    """Counts wrong tokens per address, from the first to a minute later, for a bounded number of addresses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[float, int]] = {}

    def check(self, address: str) -> None:
        """Raise TooManyFailedLogins where the address must wait."""
        began, count = self._failures.get(address, (0.0, 0))
        wait = began + _WINDOW_SECONDS - self._clock()
        if count >= MAX_FAILURES and wait > 0:
            raise TooManyFailedLogins(f"more than {MAX_FAILURES} unknown tokens from {address}", retry_after=wait)

    def add(self, address: str) -> None:
        """Count a failure."""
        now = self._clock()
        began, count = self._failures.pop(address, (now, 0))
        self._failures[address] = (began, count + 1) if now < began + _WINDOW_SECONDS else (now, 1)
        if len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]  # the one that failed longest ago


# Both are coroutines, as is the store's: a plain function would be sent to a thread and back for each request.
async def for_users(request: Request) -> None:
    """Let pass whoever may read, or launch where something changes."""
    _require(request, Scope.READ if request.method in {"GET", "HEAD"} else Scope.LAUNCH)


async def for_workers(request: Request) -> None:
    """Let pass whoever may work."""
    _require(request, Scope.WORKER)


def _require(request: Request, scope: Scope) -> None:
    if scope not in request.scope.get(_SCOPES, ()):
        raise Forbidden(f"this needs a token with the scope {scope.value}")


def _public(scope: Connection) -> bool:
    return scope["path"] in PUBLIC and scope["method"] == "GET"


def _network(scope: Connection) -> str:
    """Return the sender's IPv4 address, or the IPv6 network of 64 bits from which it can choose addresses."""
    address: str = scope["client"][0] if scope.get("client") else ""
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64 if ":" in address else 32), strict=False))
    except ValueError:
        return address


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
