"""The places of presets."""

from dashboard.launch.presets import place_of


def test_any_title_has_a_place() -> None:
    """A title without a letter that a slug may have gets one too, always the same, and others another."""
    assert place_of("Two blocks") == place_of("two  BLOCKS!") == "two-blocks"
    assert place_of("\u05e9") == place_of("\u05e9") != place_of("\u05dc")
    assert place_of("\u05e9").startswith("preset-")
