"""What can be asked of runs, and where a move puts them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.schemas.runs import Run, RunStatus
from dashboard.runs import actions
from tests.dashboard.samples import experiment

SAMPLE = experiment().runs[0]


def run(**changes: Any) -> Run:
    """Make a run that stands where the changes say."""
    return experiment().runs[0].model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"status": RunStatus.QUEUED}, ["pause", "cancel"]),
        ({"status": RunStatus.RUNNING}, ["pause", "cancel"]),
        ({"status": RunStatus.RUNNING, "pause_requested": True}, ["resume", "cancel"]),
        ({"status": RunStatus.RUNNING, "cancel_requested": True}, []),
        ({"status": RunStatus.PAUSED}, ["resume", "cancel"]),
        ({"status": RunStatus.FINISHED}, []),
        ({"status": RunStatus.FAILED}, ["retry"]),
        ({"status": RunStatus.CANCELLED, "cancel_requested": True}, ["retry"]),
    ],
)
def test_what_can_be_asked_depends_on_where_the_run_stands(changes: dict[str, Any], names: list[str]) -> None:
    """A pause that is not obeyed yet can be taken back, a cancel cannot; only what ended badly is tried again."""
    assert actions.possible(run(**changes)) == names


@given(
    priorities=st.lists(st.sampled_from([-100, -1, 0, 1, 2, 100]), min_size=2, max_size=12),
    moved=st.integers(0, 11),
    place=st.integers(1, 12),
)
def test_a_run_is_put_at_its_place(priorities: list[int], moved: int, place: int) -> None:
    """Whatever the priorities, it is the n-th to start afterwards, and the others keep their order."""
    waiting = [SAMPLE.model_copy(update={"id": f"r{i:07}", "priority": p}) for i, p in enumerate(priorities)][::-1]
    chosen, place = waiting[moved % len(waiting)].id, 1 + (place - 1) % len(waiting)
    changes = actions.placed(waiting, chosen, place)
    assert all(-100 <= value <= 100 for value in changes.values())
    after = [run.model_copy(update={"priority": changes.get(run.id, run.priority)}) for run in waiting]
    expected = [run.id for run in actions.in_line(waiting) if run.id != chosen]
    expected.insert(place - 1, chosen)
    assert [run.id for run in actions.in_line(after)] == expected


def test_one_priority_is_changed_where_one_suffices() -> None:
    """Between priorities 5 and 0 there is room; between equals there is none, and the line is written anew."""
    oldest, older, newest = (run(id=f"r000000{i}", priority=p) for i, p in enumerate([5, 0, 0]))
    assert actions.placed([newest, older, oldest], newest.id, 2) == {newest.id: 1}
    equals = [run(id=f"r000000{i}", priority=0) for i in range(4)]
    assert actions.placed(equals[::-1], equals[3].id, 2) == {equals[1].id: -1, equals[2].id: -1}


def test_the_line_is_by_priority_and_then_by_age() -> None:
    """Of runs listed newest first, the highest priority starts first, and of equals the oldest."""
    oldest, older, newest = (run(id=f"r000000{i}", priority=p) for i, p in enumerate([0, 5, 0]))
    assert actions.in_line([newest, older, oldest]) == [older, oldest, newest]


@pytest.mark.parametrize(
    ("move", "taken", "expected"),
    [("front", [0, 3], 4), ("back", [0, 3], -1), ("front", [100], 100), ("back", [-100], -100), ("front", [], 1)],
)
def test_a_move_goes_past_all_the_others(move: str, taken: list[int], expected: int) -> None:
    """One above the highest, or one below the lowest, within the bounds of the contract."""
    assert actions.priority(move, [run(priority=p) for p in taken]) == expected
