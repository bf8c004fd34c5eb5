"""Tests of the commands that keep order among comparisons, against the application."""

import json

import pytest

from backend.client import Client
from backend.errors import InvalidInput
from tests.backend.conftest import Run
from tests.backend.samples import spec


def test_a_comparison_is_edited_and_listed(run: Run, client: Client, worker: str) -> None:
    """Name, note, tags and archive status can be set separately, and the list shows them."""
    assert worker
    made = client.launch(spec())
    assert run("edit", made.id, "--name", "[b]old[/b]", "--note", "n", "--tag", "x", "--tag", "y").exit_code == 0
    run("edit", made.id, "--archive")
    assert json.loads(run("experiments", "--json").stdout) == []
    (row,) = json.loads(run("experiments", "--archived", "--tag", "y", "--json").stdout)
    assert (row["name"], row["note"], row["tags"], row["archived"]) == ("[b]old[/b]", "n", ["x", "y"], True)
    listed = run("experiments", "--archived").stdout
    assert all(word in listed for word in (made.id, "[b]old[/b]", "x y", "archived"))
    run("edit", made.id, "--unarchive", "--no-tags")
    assert client.experiments()[0].tags == []


def test_a_deletion_says_what_it_cancels(run: Run, client: Client, worker: str) -> None:
    """Deletion asks if runs are queued, does nothing on a no, and can be undone."""
    assert worker
    made = client.launch(spec())
    asked = run("delete", made.id, answer="n\n")
    assert (asked.exit_code, client.experiment(made.id)) == (1, made)
    assert "2 unfinished runs" in asked.output
    assert run("delete", made.id, "--yes").exit_code == 0
    assert client.experiments() == []
    assert made.id in run("experiments", "--deleted").stdout
    assert run("delete", made.id).exit_code == 0
    assert run("restore", made.id).stdout == f"{made.id} sample\n"
    assert [run.status.value for run in client.experiments()[0].runs] == ["cancelled"] * 2


def test_a_purge_is_asked_for(run: Run, client: Client, worker: str) -> None:
    """Only deleted experiments are removed permanently, after a yes."""
    assert worker
    made, kept = client.launch(spec()), client.launch(spec())
    client.delete(made.id)
    assert run("purge", "--days", "0", answer="n\n").exit_code == 1
    assert run("purge", "--days", "0", "--yes").stdout == "1 comparisons removed\n"
    assert client.experiments(deleted=True) == [kept]


def test_a_launch_starts_from_a_preset(run: Run, client: Client, worker: str) -> None:
    """A saved preset is the base that options change; an unknown one is refused with those that exist."""
    assert worker
    client.save_preset("mine", "Mine", spec(seeds=[3, 4]))
    assert run("presets").stdout == "mine\tMine\n"
    made = json.loads(run("launch", "--preset", "mine", "--name", "again", "--json").stdout)["id"]
    launched = client.experiment(made).spec
    assert launched == spec(seeds=[3, 4], name="again")
    with pytest.raises(InvalidInput, match="preset is 'yours': must be one of mine"):
        run("launch", "--preset", "yours")
    with pytest.raises(InvalidInput, match=r"^preset is"):
        run("launch", "--preset", "mine", "some.yaml")
    assert run("presets", "--delete", "mine").stdout == ""


def test_scripts_read_what_was_changed(run: Run, client: Client, worker: str) -> None:
    """With --json each command prints the comparisons, or presets, as they are now, and nothing else."""
    assert worker
    made = client.launch(spec())
    (edited,) = json.loads(run("edit", made.id, "--name", "new", "--json").stdout)
    assert (edited["id"], edited["name"]) == (made.id, "new")
    (deleted,) = json.loads(run("delete", made.id, "--yes", "--json").stdout)
    assert deleted["deleted_at"] is not None
    (restored,) = json.loads(run("restore", made.id, "--json").stdout)
    assert (restored["id"], restored["deleted_at"]) == (made.id, None)
    client.save_preset("mine", "Mine", spec())
    (preset,) = json.loads(run("presets", "--json").stdout)
    assert (preset["slug"], preset["spec"]["name"]) == ("mine", "sample")
