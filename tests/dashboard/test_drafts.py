"""What a visitor is about to launch."""

from typing import Any

import pytest

from dashboard.drafts import Draft, seeds_of
from tests.dashboard.samples import SPEC


def test_a_draft_begins_with_the_optimizers_of_its_specification() -> None:
    """Each optimizer is an entry with its settings, and entries have names that never repeat."""
    held = Draft(SPEC)
    assert [(entry.id, entry.kind) for entry in held.entries] == [("adam0", "adam"), ("hf1", "hf"), ("bhf2", "bhf")]
    assert held.entries[1].values["curvature_batch"] == 250
    held.remove(held.entries[0])
    held.add("adam")
    assert [entry.id for entry in held.entries] == ["hf1", "bhf2", "adam3"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0, 1 2", [0, 1, 2]),
        ("3-5, 9", [3, 4, 5, 9]),
        ("", []),
        ("5-3", ["5-3"]),
        ("-1", ["-1"]),
        ("0-99999999", ["0-99999999"]),
        ("one", ["one"]),
    ],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[Any]) -> None:
    """Numbers and ascending ranges are seeds; anything else stays text, which the contract refuses."""
    assert seeds_of(text) == seeds
