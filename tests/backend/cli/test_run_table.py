"""Tests of what a terminal shows while runs train."""

from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from backend.cli import run_table
from backend.errors import BackendUnavailable
from backend.schemas.api import Claim
from backend.schemas.optimizers import HessianFree
from backend.schemas.runs import Run
from tests.clients import BothClient


def console() -> Console:
    """Make a terminal that can be read afterwards."""
    return Console(file=StringIO(), width=100)


def written(console: Console) -> str:
    """Read what a terminal shows."""
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_watching_ends_when_all_that_is_left_is_paused(
    client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watching continues while a run trains; it ends once the others are paused, and names the command to resume."""
    looks: list[float] = []

    def finish(seconds: float) -> None:
        looks.append(seconds)
        client.finish(claim.run.id, claim.claim_number, "finished")

    monkeypatch.setattr("backend.cli.run_table.time.sleep", finish)
    other = next(run for run in client.runs() if run.id != claim.run.id)
    client.pause(other.id)
    shown = console()

    def fetch() -> list[Run]:
        assert len(looks) < 3, "it never ends"
        return [client.run(claim.run.id), client.run(other.id)]

    assert [run.status for run in run_table.watch(fetch, shown, interval=0.5)] == ["finished", "paused"]
    assert looks == [0.5]
    assert f"blockhf resume {other.id}" in written(shown)


def test_watching_says_nothing_of_pauses_where_there_are_none(client: BothClient, claim: Claim) -> None:
    """Runs that have ended need no hint."""
    client.finish(claim.run.id, claim.claim_number, "finished")
    shown = console()
    run_table.watch(lambda: [client.run(claim.run.id)], shown, interval=0.5)
    assert "finished" in written(shown)
    assert "resume" not in written(shown)


def test_watching_goes_on_while_the_backend_is_away(
    client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the backend is unreachable, the screen shows a message and the last known state."""
    looks: list[float] = []
    monkeypatch.setattr("time.sleep", looks.append)
    shown = Console(file=StringIO(), width=100, force_terminal=True)

    def fetch() -> list[Run]:
        if 0 < len(looks) < 8:
            assert len(looks) == 1 or written(shown).count("Backend unreachable") == len(looks) - 1
            raise BackendUnavailable("no answer from here")
        if len(looks) == 8:
            client.finish(claim.run.id, claim.claim_number, "finished")
        return [client.run(claim.run.id)]

    (run,) = run_table.watch(fetch, shown, interval=0.5)
    assert run.status == "finished"
    assert "no answer from here" in written(shown)


def test_watching_into_a_file_says_on_standard_error_that_the_backend_is_away(
    client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once each time that it goes; the file holds the table alone."""
    looks: list[float] = []
    monkeypatch.setattr("time.sleep", looks.append)
    shown = Console(file=StringIO(), width=100)

    def fetch() -> list[Run]:
        if len(looks) in {1, 2, 4}:
            raise BackendUnavailable("no answer from here")
        if len(looks) == 5:
            client.finish(claim.run.id, claim.claim_number, "finished")
        return [client.run(claim.run.id)]

    run_table.watch(fetch, shown, interval=0.5)
    assert capsys.readouterr().err.count("no answer from here") == 2
    assert "unreachable" not in written(shown)
    assert "finished" in written(shown)


def test_watching_ends_when_the_backend_stays_away(
    client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first look at once, later after five minutes."""
    looks: list[float] = []
    clock = SimpleNamespace(sleep=looks.append, monotonic=lambda: sum(looks))
    monkeypatch.setattr("backend.cli.run_table.time", clock)
    monkeypatch.setattr("backend.client.retry.time", clock)
    known = client.run(claim.run.id)

    def fetch() -> list[Run]:
        if looks:
            raise BackendUnavailable("gone")
        return [known]

    with pytest.raises(BackendUnavailable, match="gone"):
        run_table.watch(fetch, console(), interval=0.5)
    assert 300 <= sum(looks) <= 310
    with pytest.raises(BackendUnavailable, match="gone"):
        run_table.watch(fetch, console(), interval=0.5)


def test_members_of_a_sweep_are_told_apart(claim: Claim) -> None:
    """A row has the run's name as the pages have it, also where the terminal is narrow."""
    config = claim.run.config
    swept = [config.model_copy(update={"optimizer": HessianFree(damping=damping)}) for damping in (0.1, 0.3)]
    shown = console()
    shown.print(run_table.runs_table([claim.run.model_copy(update={"config": one}) for one in swept], width=80))
    words = " ".join(written(shown).split())
    assert all(f"HF · damping {damping}" in words for damping in (0.1, 0.3))
