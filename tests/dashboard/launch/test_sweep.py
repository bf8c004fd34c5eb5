"""Combinations of a sweep's values."""

from dashboard.launch.sweep import MAX_CONFIGURATIONS, new_points


def test_every_combination_but_the_present_one() -> None:
    """Settings without a value do not count, repeated values count once, and what stands there already is left out."""
    found = new_points({"damping": [0, 0.1, 0.1], "stop": ["a", "b"], "momentum": []}, {"damping": 0, "stop": "a"})
    assert found == [
        {"damping": 0, "stop": "b"},
        {"damping": 0.1, "stop": "a"},
        {"damping": 0.1, "stop": "b"},
    ]
    assert new_points({"damping": []}, {"damping": 0}) == []


def test_the_limit_is_the_contracts() -> None:
    """A comparison holds at most as many configurations as the contract allows."""
    assert MAX_CONFIGURATIONS == 32
