"""Colours can be read, and told apart from the page."""

import pytest

from backend.schemas.optimizer_registry import OPTIMIZERS
from dashboard.ui.theme import OTHER_COLOURS, streamlit_theme

THEME = streamlit_theme()
MODES = ("light", "dark")


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours as WCAG 2.2 defines it: 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ink", ["textColor", "grayTextColor", "redTextColor", "greenTextColor"])
@pytest.mark.parametrize("paper", ["backgroundColor", "secondaryBackgroundColor"])
def test_text_has_the_contrast_of_level_aa(mode: str, ink: str, paper: str) -> None:
    """Text stands out from both backgrounds by at least 4.5."""
    assert contrast(THEME[f"theme.{mode}.{ink}"], THEME[f"theme.{mode}.{paper}"]) >= 4.5


@pytest.mark.parametrize("mode", MODES)
def test_lines_have_the_contrast_of_graphics(mode: str) -> None:
    """A curve stands out from the page by at least 3."""
    colours = [*(getattr(optimizer.colour, mode) for optimizer in OPTIMIZERS.values()), *OTHER_COLOURS[mode]]
    assert min(contrast(colour, THEME[f"theme.{mode}.backgroundColor"]) for colour in colours) >= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_button_can_be_read(mode: str) -> None:
    """White on the accent colour has the contrast of level AA, too."""
    assert contrast("#ffffff", THEME[f"theme.{mode}.primaryColor"]) >= 4.5
