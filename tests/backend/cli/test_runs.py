"""Tests of the commands that steer runs, against the application."""

import json
from collections.abc import Callable

import pytest

from backend.client import Client
from backend.schemas.api import Claim
from backend.schemas.runs import Run, RunStatus
from tests.backend.conftest import Run as Command
from tests.backend.samples import spec
from tests.clients import BothClient


@pytest.fixture
def finished_meanwhile(client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Launch two runs, of which the first finishes once the command has looked; return the ids."""
    ids = [run.id for run in client.experiment(claim.run.experiment_id).runs]

    def after(call: Callable[[BothClient, str], Run]) -> Callable[[BothClient, str], Run]:
        def late(self: BothClient, run_id: str) -> Run:
            if run_id == claim.run.id:
                client.finish(run_id, claim.claim_number, "finished")
            return call(self, run_id)

        return late

    monkeypatch.setattr(Client, "cancel", after(Client.cancel))
    monkeypatch.setattr(Client, "pause", after(Client.pause))
    return ids


@pytest.mark.parametrize(("verb", "status"), [("cancel", RunStatus.CANCELLED), ("pause", RunStatus.PAUSED)])
def test_a_run_that_ends_meanwhile_keeps_no_other_from_its_turn(
    run: Command, client: BothClient, claim: Claim, finished_meanwhile: list[str], verb: str, status: RunStatus
) -> None:
    """A message goes to standard error and the exit code is 0; the other runs change."""
    done = run(verb, claim.run.experiment_id, "--json")
    assert done.exit_code == 0
    assert f"{finished_meanwhile[0]}: run {finished_meanwhile[0]} is finished" in done.stderr
    assert [told["id"] for told in json.loads(done.stdout)] == finished_meanwhile[1:]
    assert [client.run(one).status for one in finished_meanwhile] == [RunStatus.FINISHED, status]


def test_what_is_refused_is_a_failure(run: Command, client: BothClient, worker: str) -> None:
    """Runs of a deleted comparison stay cancelled, and the exit code is 1."""
    assert worker
    made = client.launch(spec())
    client.delete(made.id)
    done = run("retry", made.id)
    assert done.exit_code == 1
    assert done.stderr.count("deleted") == len(made.runs) == 2
    assert done.stdout == ""
