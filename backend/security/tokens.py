"""Tokens: who may read, launch, or work. Kept as hashes in a file; a token is shown once, when it is made.

Without any token every request is let in, which is why the backend then listens on this machine alone. Once requests
need a token, they do until the process ends: deleting the last one lets nobody in.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from enum import StrEnum

from filelock import FileLock
from pydantic import Field, ValidationError

from backend.durable_files import write_durably
from backend.errors import BlockHFError, Conflict, NotFound, from_validation
from backend.schemas.base import Contract, Slug
from backend.settings import Settings

MIN_CHARACTERS = 20
_BYTES = 32
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Scope(StrEnum):
    """What a token is good for; one does not include another."""

    READ = "read"
    LAUNCH = "launch"
    WORKER = "worker"


EVERYTHING = frozenset(Scope)


class Unsafe(BlockHFError):
    """The backend would be open to others."""

    code = "unsafe"


class Token(Contract):
    """A token as it is kept: never itself, only its hash. A token has 256 random bits, so that no salt is needed."""

    name: Slug
    scopes: list[Scope] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Document(Contract):
    tokens: list[Token]


class Tokens:
    """The tokens of a backend: those of the file in its folder, and BLOCKHF_TOKEN, which is good for everything."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.home / "tokens.json"
        self._own = fingerprint(settings.token.get_secret_value()) if settings.token.get_secret_value() else None
        self._read_at: tuple[int, int] | None = None
        self._known: list[Token] = []
        self._closed = not (settings.host in _LOOPBACK or settings.allow_unauthenticated_network)

    @property
    def exist(self) -> bool:
        """Whether there is any token now."""
        return self._own is not None or bool(self.list())

    @property
    def required(self) -> bool:
        """Whether requests need a token: other machines can come, or there is one, or was one since the start."""
        self._closed = self._closed or self.exist
        return self._closed

    def scopes(self, token: str) -> frozenset[Scope] | None:
        """Return what a token is good for, or None where nobody knows it; takes as long whichever it is."""
        given = fingerprint(token)
        found: frozenset[Scope] | None = None
        if self._own is not None and hmac.compare_digest(self._own, given):
            found = EVERYTHING
        for known in self.list():
            if hmac.compare_digest(known.sha256, given):
                found = frozenset(known.scopes)
        return found

    def list(self) -> Sequence[Token]:
        """Return the file's tokens, as they are now; raises Unsafe where the file cannot be understood."""
        try:
            status = self._path.stat()
            read_at = (status.st_mtime_ns, status.st_ino)
            if read_at != self._read_at:
                self._known = _Document.model_validate_json(self._path.read_bytes()).tokens
                self._read_at = read_at
        except FileNotFoundError:
            self._known, self._read_at = [], None
        except (OSError, ValidationError) as error:
            raise Unsafe(f"{self._path} cannot be read, so nobody is let in: {type(error).__name__}") from None
        return self._known

    def create(self, name: str, scopes: frozenset[Scope]) -> str:
        """Make a token and keep its hash; return the token, which nobody can read again.

        Raises InvalidInput where it cannot be called so, Conflict where another one is.
        """
        secret = fresh()
        try:
            made = Token(name=name, scopes=sorted(scopes), sha256=fingerprint(secret))
        except ValidationError as error:
            raise from_validation(error) from None
        with self._locked():
            known = self.list()
            if any(token.name == name for token in known):
                raise Conflict(f"there is a token {name} already")
            self._write([*known, made])
        return secret

    def delete(self, name: str) -> None:
        """Forget a token: from the next request on it is not let in."""
        with self._locked():
            kept = [token for token in self.list() if token.name != name]
            if len(kept) == len(self.list()):
                raise NotFound(f"there is no token {name}")
            self._write(kept)

    def _write(self, tokens: Sequence[Token]) -> None:
        """Replace the whole file; only its owner can read it."""
        document = _Document(tokens=list(tokens)).model_dump_json(indent=2)
        write_durably(self._path, document.encode(), mode=0o600)

    def _locked(self) -> FileLock:
        """Lock the file against other processes from the read to the write."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._path.with_suffix(".lock"))


def check_address(settings: Settings) -> None:
    """Raise Unsafe where the backend would listen to other machines and let in whoever comes, or by a weak token."""
    token = settings.token.get_secret_value()
    if token and len(token) < MIN_CHARACTERS:
        raise Unsafe(f"BLOCKHF_TOKEN has fewer than {MIN_CHARACTERS} characters, so that it could be guessed")
    if settings.host in _LOOPBACK or settings.allow_unauthenticated_network or Tokens(settings).exist:
        return
    raise Unsafe(
        f"BLOCKHF_HOST is {settings.host}, which other machines can reach, and no token is needed: set BLOCKHF_TOKEN, "
        "or create tokens with `blockhf token create`, or, in a closed network, set "
        "BLOCKHF_ALLOW_UNAUTHENTICATED_NETWORK=1"
    )


def fresh() -> str:
    """Draw a token at random."""
    return secrets.token_urlsafe(_BYTES)


def fingerprint(token: str) -> str:
    """Return a token's SHA-256, by which it is known."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
