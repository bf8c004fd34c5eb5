"""Tests of how a run continues after its worker was lost: from its checkpoint or from the start."""

import pytest

from backend.errors import InvalidInput
from backend.schemas.runs import Summary
from tests.backend.samples import checkpoint
from tests.backend.scene import Scene


def test_a_lost_run_goes_on_from_its_checkpoint(scene: Scene) -> None:
    """Rows up to the checkpoint stay, with the summary they had; later ones go when the next worker starts."""
    claim = scene.claim()
    scene.append(claim, 5, saved=3)
    scene.lose()
    again = scene.claim()
    assert (again.run.checkpoint, again.run.summary.updates) == (checkpoint(3), 5)
    row_generation = scene.services.metrics.series([claim.run.id])[claim.run.id]["row_generation"]
    scene.start(again, 3, "another device")
    scene.start(again, 3, "another device")
    run = scene.run(claim)
    assert scene.rows(claim) == [1, 2, 3]
    assert (run.summary.updates, run.summary.best_train_loss, run.notes) == (3, 30.0, ["another device"])
    assert scene.services.metrics.series([claim.run.id])[claim.run.id]["row_generation"] == row_generation + 1
    assert scene.append(again, 6) == 6
    scene.start(again, 3)  # a late replay of the start takes no row away
    assert scene.rows(claim) == [1, 2, 3, 4, 5, 6]


def test_a_run_without_a_checkpoint_says_that_it_begins_again(scene: Scene) -> None:
    """Rows after the checkpoint are trained again, and a note reports their number."""
    claim = scene.claim()
    scene.start(claim, 0)
    assert scene.run(claim).notes == []
    scene.append(claim, 5)
    scene.lose()
    again = scene.claim()
    scene.start(again, 0)
    assert ["5 updates" in note for note in scene.run(claim).notes] == [True]
    assert scene.rows(claim) == []


def test_a_worker_without_the_checkpoint_begins_again(scene: Scene) -> None:
    """Rows, summary and checkpoint after the rollback point are deleted."""
    claim = scene.claim()
    scene.append(claim, 5, saved=3)
    scene.lose()
    again = scene.claim()
    scene.start(again, 0, "the checkpoint is elsewhere")
    run = scene.run(claim)
    assert (scene.rows(claim), run.summary, run.checkpoint) == ([], Summary(), None)
    assert run.notes == ["the checkpoint is elsewhere"]


def test_a_checkpoint_fits_the_rows(scene: Scene) -> None:
    """A checkpoint later than the rows is refused; a run continues from its checkpoint or from the start."""
    claim = scene.claim()
    with pytest.raises(InvalidInput, match=r"checkpoint\.update is"):
        scene.append(claim, 2, saved=3)
    assert scene.rows(claim) == []
    scene.append(claim, 3, saved=2)
    scene.lose()
    again = scene.claim()
    with pytest.raises(InvalidInput, match="must be 0 or the checkpoint's update, 2"):
        scene.start(again, 3)
