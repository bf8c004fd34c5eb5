"""Random ids that are valid in a path, a file name or a query."""

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTH = 16


def new_id() -> str:
    """Return a random id of 16 characters a-z and 0-9 (82 bits)."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id."""
    return len(text) == _LENGTH and set(text) <= set(_ALPHABET)
