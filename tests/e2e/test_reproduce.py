"""The commands that reproduce the paper, as a user runs them."""

import json
from pathlib import Path

import pytest

from backend.client import Client
from backend.paper.curves import read
from backend.paper.specifications import LONG, PaperProblem, Question, Scale, reproduction
from tests.e2e.test_commands import blockhf
from tests.processes import DEADLINE, Processes


def test_reproduce_and_report(service: Processes, tmp_path: Path) -> None:
    """`reproduce` queues the experiment; `report` writes it as HTML and as data, whatever has been trained so far."""
    with Client(service.backend_url) as client:
        launched = blockhf(service, "reproduce", "autoencoder", "--json")
        assert launched.returncode == 0, launched.stderr
        (made,) = json.loads(launched.stdout)
        for run in made["runs"]:
            client.cancel(run)
        client.wait(made["runs"], timeout=DEADLINE)
        experiment = client.experiment(made["id"])
        assert experiment.spec == reproduction(PaperProblem.AUTOENCODER, Scale.QUICK)
    page, data = tmp_path / "report.html", tmp_path / "data.parquet"
    written = blockhf(service, "report", made["id"], "--to", str(page), "--data", str(data))
    assert written.returncode == 0, written.stderr
    assert "not cancelled" in page.read_text(encoding="utf-8")
    assert read([data])[0].spec == experiment.spec


@pytest.mark.parametrize(("subject", "count"), [("study", len(Question) - len(LONG)), ("question", len(LONG))])
def test_the_study_is_queued_as_a_whole(service: Processes, subject: str, count: int) -> None:
    """One experiment per question; the long ones apart."""
    launched = blockhf(service, "reproduce", subject)
    ids = launched.stdout.split()
    with Client(service.backend_url) as client:
        for name in ids:
            client.delete(name)
    assert len(ids) == count


def test_what_cannot_be_written_is_said(service: Processes, tmp_path: Path) -> None:
    """An unknown experiment, and a folder that does not exist, are one line each, and exit code 1."""
    unknown = blockhf(service, "report", "aaaaaaaaaaaaaaaa", "--to", str(tmp_path / "a.html"))
    assert (unknown.returncode, unknown.stderr.strip()) == (1, "error: there is no experiment aaaaaaaaaaaaaaaa")
    nowhere = blockhf(service, "report", "aaaaaaaaaaaaaaaa", "--to", str(tmp_path / "no" / "a.html"))
    assert nowhere.returncode == 1
    assert "folder does not exist" in nowhere.stderr
