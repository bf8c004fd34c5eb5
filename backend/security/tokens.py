"""API tokens with their scopes, stored as hashes in a file; a token is shown only when it is created.

Without any token every request is accepted, so the backend then listens only to its own machine. Once requests require
a token they do so until the process ends: after the last one is deleted, every request is refused.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from filelock import FileLock
from pydantic import Field, ValidationError

from backend.durable_files import write_durably
from backend.errors import BlockHFError, Conflict, NotFound, from_validation
from backend.schemas.api import Scope
from backend.schemas.base import Contract, Slug
from backend.settings import Settings

MIN_CHARACTERS = 20
_BYTES = 32
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


EVERYTHING = frozenset(Scope)


class Unsafe(BlockHFError):
    """The backend would accept requests from other machines without a secure token."""

    code = "unsafe"


class ApiToken(Contract):
    """A stored token: name, scopes and hash. Tokens have 256 random bits, so the hash needs no salt."""

    name: Slug
    scopes: list[Scope] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Document(Contract):
    tokens: list[ApiToken]


class Tokens:
    """The tokens of a backend: those in the file of its folder, and BLOCKHF_TOKEN, which has every scope."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.home / "tokens.json"
        self._own = fingerprint(settings.token.get_secret_value()) if settings.token.get_secret_value() else None
        self._read_at: tuple[int, int] | None = None
        self._known: list[ApiToken] = []
        self._closed = not (settings.host in _LOOPBACK or settings.allow_unauthenticated_network)

    @property
    def exist(self) -> bool:
        """Whether there is a token now."""
        return self._own is not None or bool(self.list())

    @property
    def required(self) -> bool:
        """Whether requests need a token: other machines can connect, or there has been a token since the start."""
        self._closed = self._closed or self.exist
        return self._closed

    def scopes(self, token: str) -> frozenset[Scope] | None:
        """Return the scopes of a token, or None if it is unknown; comparison takes the same time for every token."""
        given = fingerprint(token)
        found: frozenset[Scope] | None = None
        if self._own is not None and hmac.compare_digest(self._own, given):
            found = EVERYTHING
        for known in self.list():
            if hmac.compare_digest(known.sha256, given):
                found = frozenset(known.scopes)
        return found

    def list(self) -> Sequence[ApiToken]:
        """Return the tokens of the file, which is read again when it has changed.

        Raises:
            Unsafe: the file cannot be read.
        """
        try:
            status = self._path.stat()
            read_at = (status.st_mtime_ns, status.st_ino)
            if read_at != self._read_at:
                self._known = _Document.model_validate_json(self._path.read_bytes()).tokens
                self._read_at = read_at
        except FileNotFoundError:
            self._known, self._read_at = [], None
        except (OSError, ValidationError) as error:
            raise Unsafe(
                f"cannot read the token file {self._path} ({type(error).__name__}): all requests are refused"
            ) from None
        return self._known

    def create(self, name: str, scopes: frozenset[Scope]) -> str:
        """Create a token and store its hash; return the token, which cannot be shown again.

        Raises:
            InvalidInput: the name or the scopes are invalid.
            Conflict: the name is in use.
        """
        secret = random_token()
        try:
            created = ApiToken(name=name, scopes=sorted(scopes), sha256=fingerprint(secret))
        except ValidationError as error:
            raise from_validation(error) from None
        with self._locked():
            known = self.list()
            if any(token.name == name for token in known):
                raise Conflict(f"a token named {name} already exists")
            self._write([*known, created])
        return secret

    def delete(self, name: str) -> None:
        """Delete a token; its next request is refused.

        Raises:
            NotFound: there is no such token.
        """
        with self._locked():
            kept = [token for token in self.list() if token.name != name]
            if len(kept) == len(self.list()):
                raise NotFound(f"there is no token named {name}")
            self._write(kept)

    def _write(self, tokens: Sequence[ApiToken]) -> None:
        """Replace the file; only its owner can read it."""
        document = _Document(tokens=list(tokens)).model_dump_json(indent=2)
        write_durably(self._path, document.encode(), mode=0o600)

    def _locked(self) -> FileLock:
        """Return a lock for one reading and writing process at a time."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._path.with_suffix(".lock"))


def check_address(settings: Settings) -> None:
    """Raise Unsafe if other machines could connect without a token, or if BLOCKHF_TOKEN is too short."""
    token = settings.token.get_secret_value()
    if token and len(token) < MIN_CHARACTERS:
        raise Unsafe(f"BLOCKHF_TOKEN has {len(token)} characters; it must have at least {MIN_CHARACTERS}")
    if settings.host in _LOOPBACK or settings.allow_unauthenticated_network or Tokens(settings).exist:
        return
    raise Unsafe(
        f"BLOCKHF_HOST is {settings.host}, which other machines can reach, but no token is needed: set BLOCKHF_TOKEN, "
        "or create a token with `blockhf token create`, or, in a closed network, set "
        "BLOCKHF_ALLOW_UNAUTHENTICATED_NETWORK=1"
    )


def random_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(_BYTES)


def fingerprint(token: str) -> str:
    """Return the SHA-256 of a token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
