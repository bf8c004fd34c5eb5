"""Colours and style of the pages, light and dark."""

from pathlib import Path
from typing import Any, Literal

import streamlit as st

STATIC = Path(__file__).parent.parent / "static"

OTHER_COLOURS = {"light": ["#8a5a9e", "#7a6a00"], "dark": ["#d3a4e6", "#d9c64a"]}

_PALETTE = {
    "light": {
        "primaryColor": "#1f5fbf",
        "backgroundColor": "#ffffff",
        "secondaryBackgroundColor": "#f3f5f8",
        "textColor": "#1b2330",
        "borderColor": "#d9dee6",
        "grayTextColor": "#5a6473",
        "redTextColor": "#b3261e",
        "greenTextColor": "#00694c",
    },
    "dark": {
        "primaryColor": "#2f6fce",
        "backgroundColor": "#10141b",
        "secondaryBackgroundColor": "#1a202a",
        "textColor": "#e8ecf2",
        "borderColor": "#323b49",
        "grayTextColor": "#a3adbb",
        "redTextColor": "#ff8a80",
        "greenTextColor": "#5fd6b0",
    },
}


def streamlit_theme() -> dict[str, Any]:
    """Return the theme as Streamlit's options."""
    colours = {f"theme.{mode}.{name}": value for mode, names in _PALETTE.items() for name, value in names.items()}
    return colours | {
        "theme.baseRadius": "8px",
        "theme.showWidgetBorder": True,
        "theme.headingFontSizes": ["1.75rem", "1.35rem", "1.1rem"],
        "theme.headingFontWeights": [650, 600, 600],
        "theme.baseFontSize": 15,
    }


def style_sheet() -> str:
    """Return the style sheet for what Streamlit's theme does not cover."""
    return f"<style>{(STATIC / 'pages.css').read_text()}</style>"


def mode() -> Literal["light", "dark"]:
    """Return the colour scheme of the visitor's page."""
    return "dark" if st.context.theme.type == "dark" else "light"


def text_colour() -> str:
    """Return the colour of text on the visitor's page, for pictures."""
    return _PALETTE[mode()]["textColor"]
