"""How many requests one client may make: an even rate with room for a burst, per key, in bounded memory."""

import ipaddress
import time
from collections.abc import Callable

from backend.errors import TooManyRequests

BURST_SECONDS = 2.0
MAX_KEYS = 10_000


class RateLimit:
    """Lets pass `rate` requests per second of each key, and at first as many as `BURST_SECONDS` bring.

    A key is one number: the time at which its requests so far, spread evenly, are done (the generic cell rate
    algorithm of ITU-T I.371). A key whose time has passed is as one that was never seen, so that it can be forgotten.

    Args:
        rate: requests per second; 0: without a limit.
        what: whose requests they are, for the message.
        setting: the environment variable that the rate comes from.
        clock: monotonic seconds.
    """

    def __init__(self, rate: float, *, what: str, setting: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst_seconds = max(BURST_SECONDS, 1 / rate) if rate else 0.0
        self._what = what
        self._setting = setting
        self._clock = clock
        self._done_at: dict[str, float] = {}

    def take(self, key: str) -> None:
        """Count a request; raise TooManyRequests, with the seconds to wait, where it is one too many."""
        if not self._rate:
            return
        now = self._clock()
        done_at = max(now, self._done_at.get(key, now)) + 1 / self._rate
        wait = done_at - now - self._burst_seconds
        if wait > 1e-9:
            limit = f"more than {self._rate:g} requests per second from one {self._what} ({self._setting})"
            raise TooManyRequests(f"{limit}: wait and go on more slowly", retry_after=wait)
        if key not in self._done_at and len(self._done_at) >= MAX_KEYS:
            self._forget(now)
        self._done_at[key] = done_at

    def _forget(self, now: float) -> None:
        """Drop the keys that have nothing to wait for, and where all have, the one that came first."""
        self._done_at = {key: at for key, at in self._done_at.items() if at > now}
        while len(self._done_at) >= MAX_KEYS:
            del self._done_at[next(iter(self._done_at))]


def network_of(address: str) -> str:
    """Return what one client has: an IPv4 address, or the IPv6 network of 64 bits that it can choose from."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
