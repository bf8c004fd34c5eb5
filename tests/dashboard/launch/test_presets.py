"""The places of presets."""

from dashboard.launch.presets import slug_for


def test_any_title_has_a_place() -> None:
    """A title without a letter that a slug may have gets one too, always the same, and others another."""
    assert slug_for("Two blocks") == slug_for("two  BLOCKS!") == "two-blocks"
    assert slug_for("\u05e9") == slug_for("\u05e9") != slug_for("\u05dc")
    assert slug_for("\u05e9").startswith("preset-")
