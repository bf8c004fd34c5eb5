"""Figures that are complete when they are drawn, in a component of our own.

Streamlit's chart is not used where a figure changes: it becomes a new element, flickers and loses the zoom.
"""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from dashboard.ui.live_curves import register


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., Any]:
    return register("blockhf_figure", "plot/figure.js")


def draw_figure(figure: Mapping[str, Any], *, key: str, alt: str, brush: bool = False) -> None:
    """Draw data and layout of plotly.

    Args:
        figure: its data and layout, as JSON.
        key: key of the component.
        alt: describes it for screen readers.
        brush: whether a drag over an axis of parallel coordinates shows only the lines in that range.
    """
    _component()(key=key, data={"figure": dict(figure), "alt": alt, "brush": brush})
