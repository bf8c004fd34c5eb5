"""The play with the queue finds every fault that can be planted."""

from pathlib import Path

import pytest

from tests.benchmarks.planted_faults import FAULTS, Fault, found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
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
