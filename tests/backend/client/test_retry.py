"""Tests of the retry with back-off."""

from collections.abc import Callable
from threading import Event
from types import SimpleNamespace

import pytest

from backend.client import retry
from backend.client.retry import call_with_retry
from backend.errors import BackendUnavailable


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record pauses instead of making them; the clock advances by as much."""
    pauses: list[float] = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))
    return pauses


def failing(times: int) -> Callable[[], int]:
    """Make a call that fails some times, then returns how often it was called."""
    calls: list[int] = []

    def call() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise BackendUnavailable(f"failure {len(calls)}")
        return len(calls)

    return call


def test_pauses_grow_to_a_limit(pauses: list[float]) -> None:
    """A call is repeated until it succeeds; each failure is reported; the pauses grow, at most to the longest."""
    errors: list[Exception] = []
    assert call_with_retry(failing(20), on=BackendUnavailable, failed=errors.append) == 21
    assert [str(error) for error in errors] == [f"failure {n}" for n in range(1, 21)]
    assert pauses[:4] == sorted(pauses[:4])
    assert 0 < pauses[0] <= retry.FIRST_PAUSE
    assert 0.75 * retry.LONGEST_PAUSE <= pauses[-1] <= retry.LONGEST_PAUSE


@pytest.mark.parametrize(("attempts", "message"), [(3, "failure 3"), (1, "failure 1")])
def test_attempts_are_limited(pauses: list[float], attempts: int, message: str) -> None:
    """The last error is raised after the last attempt, without a pause behind it."""
    with pytest.raises(BackendUnavailable, match=message):
        call_with_retry(failing(99), on=BackendUnavailable, attempts=attempts)
    assert len(pauses) == attempts - 1


def test_time_is_limited(pauses: list[float]) -> None:
    """Retries take exactly as long as allowed, counted from the first failure, with a last attempt at the end."""
    with pytest.raises(BackendUnavailable):
        call_with_retry(failing(99), on=BackendUnavailable, seconds=30)
    assert sum(pauses) == pytest.approx(30)


def test_other_errors_are_not_retried(pauses: list[float]) -> None:
    """Only the named errors are."""
    with pytest.raises(BackendUnavailable):
        call_with_retry(failing(1), on=ValueError)
    assert pauses == []


def test_a_stop_ends_the_retries() -> None:
    """A pause ends at once when the event is set; the last error is raised."""
    stopped = Event()
    with pytest.raises(BackendUnavailable, match="failure 2"):
        call_with_retry(failing(99), on=BackendUnavailable, stopped=stopped, failed=_set_second(stopped))


def _set_second(event: Event) -> Callable[[Exception], None]:
    count: list[Exception] = []

    def failed(error: Exception) -> None:
        count.append(error)
        if len(count) == 2:
            event.set()

    return failed
