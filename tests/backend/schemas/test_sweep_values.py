"""Values of a sweep as text."""

import pytest

from backend.schemas.sweep_values import Value, combinations, parse_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1, 1e-3 5 0.1", [0.1, 0.001, 5]),
        ("martens,residual", ["martens", "residual"]),
        ("true off", [True, False]),
        ("0..1/3", [0, 0.5, 1]),
        ("0.001..1/4, 2", [0.001, 0.01, 0.1, 1, 2]),
        ("1e-3..1e-1/3", [0.001, 0.01, 0.1]),
        ("5..1/2", [5, 1]),
        ("2..3/1", [2]),
        ("1..2/0", []),
        ("1..x/3", ["1..x/3"]),
        ("", []),
    ],
)
def test_lists_and_ranges_are_read(text: str, values: list[Value]) -> None:
    """A range is spaced evenly, by equal factors if its ends differ more than tenfold; other text is a word."""
    assert parse_values(text) == values


def test_values_of_an_integer_are_whole() -> None:
    """Numbers are rounded, then each is kept once."""
    assert parse_values("10..12/5 2.2", integer=True) == [10, 11, 12, 2]


def test_every_combination_once() -> None:
    """The last setting varies fastest; no settings have one combination, the empty one."""
    assert list(combinations({"a": [1, 2], "b": [3, 4]})) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]
    assert list(combinations({})) == [{}]
