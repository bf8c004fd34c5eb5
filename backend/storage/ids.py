"""Opaque ids: nothing can be guessed from them, and they fit a path, a file name and a query."""

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTH = 16


def new_id() -> str:
    """Draw an id at random: 82 bits, letters a to z and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def is_id(text: str) -> bool:
    """Tell whether this could be an id that was drawn here."""
    return len(text) == _LENGTH and set(text) <= set(_ALPHABET)
