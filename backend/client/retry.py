"""Retry with back-off: pauses grow, and are random so that clients do not retry at the same time."""

import math
import random
import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


def call_with_retry(
    call: Callable[[], T],
    *,
    on: type[Exception] | tuple[type[Exception], ...],
    attempts: float = math.inf,
    seconds: float = math.inf,
    stopped: Event | None = None,
    failed: Callable[[Exception], None] = lambda _: None,
) -> T:
    """Call until there is a result.

    Args:
        call: what to call.
        on: the errors after which to call again.
        attempts: maximum number of calls.
        seconds: time limit for retries, from the first failure [s].
        stopped: stops the retries when it is set.
        failed: receives the error before each pause.

    Returns:
        The result of the call.

    Raises:
        Exception: the last error of `on`, once no retry is left; any other error at once.
    """
    count, pause, deadline = 0, FIRST_PAUSE, math.inf
    while True:
        try:
            return call()
        except on as error:
            count, now = count + 1, time.monotonic()
            deadline = now + seconds if count == 1 else deadline
            if count >= attempts or now >= deadline:
                raise
            failed(error)
            if _wait(min(pause * random.uniform(0.75, 1), deadline - now), stopped):
                raise
            pause = min(3 * pause, LONGEST_PAUSE)


def _wait(seconds: float, stopped: Event | None) -> bool:
    """Wait; return whether the retries were stopped."""
    if stopped is not None:
        return stopped.wait(seconds)
    time.sleep(seconds)
    return False
