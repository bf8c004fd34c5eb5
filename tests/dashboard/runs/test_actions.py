"""What can be asked of runs, and where a move puts them."""

from typing import Any

import pytest

from backend.schemas.runs import Run
from dashboard.runs import actions
from tests.dashboard.samples import experiment


def run(**changes: Any) -> Run:
    """Make a run that stands where the changes say."""
    return experiment().runs[0].model_copy(update=changes)


def test_the_line_is_by_priority_and_then_by_age() -> None:
    """Of runs listed newest first, the highest priority starts first, and of equals the oldest."""
    oldest, older, newest = (run(id=f"r000000{i}", priority=p) for i, p in enumerate([0, 5, 0]))
    assert actions.queue_order([newest, older, oldest]) == [older, oldest, newest]


@pytest.mark.parametrize(
    ("move", "taken", "expected"),
    [("front", [0, 3], 4), ("back", [0, 3], -1), ("front", [100], 100), ("back", [-100], -100), ("front", [], 1)],
)
def test_a_move_goes_past_all_the_others(move: str, taken: list[int], expected: int) -> None:
    """One above the highest, or one below the lowest, within the bounds of the contract."""
    assert actions.move_priority(move, [run(priority=p) for p in taken]) == expected
