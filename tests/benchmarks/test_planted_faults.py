"""A small share of the planted faults: those of the fence, which no other test would miss more."""

from pathlib import Path

import pytest

from tests.benchmarks.planted_faults import FAULTS, Fault, found

SHARE = ["the token does not grow", "an ended run can be written", "a held run is claimed again"]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SHARE], ids=lambda fault: fault.name)
def test_the_play_finds_a_planted_fault(tmp_path: Path, fault: Fault) -> None:
    """The play with the queue disagrees with its model before its 300 plays are over."""
    assert found(fault, tmp_path)


def test_a_fault_that_changes_nothing_is_an_error(tmp_path: Path) -> None:
    """So that no fault outlives the statement that it was made for."""
    with pytest.raises(AssertionError, match="'stale' matches no statement any more"):
        found(Fault("stale", "nothing says this", ""), tmp_path, 2)


def test_there_are_enough_faults() -> None:
    """Each has a name of its own."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 10
