"""Names of tags and presets."""

import pytest

from dashboard.keeping import slug_of


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
