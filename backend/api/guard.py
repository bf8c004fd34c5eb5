"""Checks of every request: Host, Origin, token, failed logins, body size; and security headers of every response.

A token is sent in a header, not in a cookie, which a browser would also send for other sites.
"""

import ipaddress
import math
import time
from collections.abc import Callable, Iterable

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from backend.api.error_responses import response, unexpected
from backend.errors import BadRequest, BlockHFError, Forbidden, TooLarge, TooManyFailedLogins, Unauthorized
from backend.schemas.api import Scope
from backend.security.origin import allowed_host, foreign_page
from backend.security.tokens import EVERYTHING, Tokens, fingerprint

PUBLIC = frozenset({"/health", "/ready", "/api/v1/health", "/api/v1/ready"})
"""Paths that need no token."""

IMPORTS = "/api/v1/imports"
"""The only route with a larger body."""

_SCOPES = "blockhf.scopes"

MAX_FAILURES = 10
"""Unknown tokens per minute from one address; then its unknown tokens are refused unchecked."""
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
    """ASGI middleware around the application, so that no route is unchecked.

    Args:
        app: the application.
        allowed_hosts: accepted Host header names, without port.
        tokens: the accepted tokens.
        max_body_bytes: maximum size of a body [bytes].
        max_import_bytes: maximum size of the body of an import [bytes].
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

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Check the request, then call the application."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
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
            answer = unexpected(scope["method"], scope["path"], error)
            if started:  # break the connection, so that the client does not mistake a part for the whole
                raise
            await answer(scope, receive, send_with_headers)

    def _check(self, scope: AsgiScope) -> None:
        headers = Headers(scope=scope)
        if not allowed_host(headers, self._hosts):
            host, allowed = headers.get("host", "")[:200], ", ".join(sorted(self._hosts))
            raise Forbidden(f"Host {host!r} is not allowed: add it to BLOCKHF_ALLOWED_HOSTS (accepted: {allowed})")
        if foreign_page(headers):
            raise Forbidden("requests from pages of other sites are not allowed")

    def _scopes(self, scope: AsgiScope) -> frozenset[Scope]:
        """Return the scopes of the request.

        Raises:
            Unauthorized: its token is unknown.
            TooManyFailedLogins: its address sent too many unknown tokens. Tokens accepted before remain accepted.
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
            raise Unauthorized("send a token of this backend in the header Authorization: Bearer TOKEN")
        self._accepted.add(known)
        return scopes

    async def _body(self, scope: AsgiScope, receive: Receive) -> bytes:
        """Read the whole body; refuse it as soon as it exceeds the limit."""
        most = self._max_import_bytes if scope["path"] == IMPORTS else self._max_body_bytes
        limit = f"the body must have at most {most} bytes"
        announced = Headers(scope=scope).get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            raise BadRequest(f"Content-Length {announced[:40]!r} is not a number")
        if int(announced[:20]) > most:
            raise TooLarge(limit)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the connection broke before the end of the body")
            body += message.get("body", b"")
            if len(body) > most:
                raise TooLarge(limit)
            if not message.get("more_body", False):
                return bytes(body)


class FailedLogins:
    """Counts unknown tokens per address within a minute, for a limited number of addresses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[float, int]] = {}

    def check(self, address: str) -> None:
        """Raise TooManyFailedLogins if the address must wait."""
        began, count = self._failures.get(address, (0.0, 0))
        wait = began + _WINDOW_SECONDS - self._clock()
        if count >= MAX_FAILURES and wait > 0:
            raise TooManyFailedLogins(
                f"more than {MAX_FAILURES} unknown tokens from {address} within a minute: retry in {math.ceil(wait)} s",
                retry_after=wait,
            )

    def add(self, address: str) -> None:
        """Count an unknown token."""
        now = self._clock()
        began, count = self._failures.pop(address, (now, 0))
        self._failures[address] = (began, count + 1) if now < began + _WINDOW_SECONDS else (now, 1)
        if len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]  # the oldest


# Coroutines, because FastAPI would call a plain function in a thread for each request.
async def for_users(request: Request) -> None:
    """Require the scope read for GET, launch for other methods."""
    _require(request, Scope.READ if request.method in {"GET", "HEAD"} else Scope.LAUNCH)


async def for_workers(request: Request) -> None:
    """Require the scope worker."""
    _require(request, Scope.WORKER)


def scopes_of(request: Request) -> frozenset[Scope]:
    """Return the scopes of an accepted request."""
    found: frozenset[Scope] = request.scope.get(_SCOPES, frozenset())
    return found


def _require(request: Request, scope: Scope) -> None:
    if scope not in scopes_of(request):
        raise Forbidden(f"this request needs a token with the scope {scope.value}")


def _public(scope: AsgiScope) -> bool:
    return scope["path"] in PUBLIC and scope["method"] == "GET"


def _network(scope: AsgiScope) -> str:
    """Return the sender's IPv4 address, or the IPv6 network of 64 bits from which it can choose addresses."""
    address: str = scope["client"][0] if scope.get("client") else ""
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64 if ":" in address else 32), strict=False))
    except ValueError:
        return address


def _token(scope: AsgiScope) -> str:
    """Return the token of a request, or an empty text."""
    kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive function that yields the body that was read, then the later messages of the server."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
