"""Durations and slugs."""

import pytest

from dashboard.ui.text import duration, slug_of, unique_labels


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_written_in_a_fitting_unit(seconds: float, text: str) -> None:
    """Seconds, minutes or hours."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Figure 2", "figure-2"),
        ("a_b.c-d", "a_b.c-d"),
        ("  --HF, damped!  ", "hf-damped"),
        ("x" * 80, "x" * 64),
        ("\u05e9\u05dc", ""),
        ("", ""),
    ],
)
def test_a_slug_is_made_of_any_text(text: str, slug: str) -> None:
    """Letters and digits stay, in lower case; the rest becomes a dash."""
    assert slug_of(text) == slug


def test_equal_labels_are_made_different() -> None:
    """Options of equal label get labels of their own, whatever their type; other labels stay."""
    options: list[object] = ["a", "b", 1, True, [1], "c", "x \N{MIDDLE DOT} a"]
    labels = {"a": "x", "b": "x", "c": "y"}
    write = unique_labels(options, lambda value: labels.get(str(value), str(value)))
    written = [write(value) for value in options]
    assert len(set(written)) == len(options)
    assert written[5:] == ["y", "x \N{MIDDLE DOT} a"]
