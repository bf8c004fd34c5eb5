"""The page "Guide": what BHF does, what to choose and why, and every setting explained."""

import streamlit as st

from backend.schemas.experiments import Budget, Evaluation
from backend.schemas.fields import SettingField
from backend.schemas.measures import UPDATE_MEASURES, Level
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.optimizers import CurvatureSettings
from dashboard.launch.block_editor import FIELD as BLOCKS
from dashboard.launch.form import form_fields
from dashboard.pages import guide_study
from dashboard.runs.actions import launch_button
from dashboard.ui.html_table import table
from dashboard.ui.setting_text import value_text
from dashboard.ui.theme import STATIC, text_colour

PICTURE = STATIC.parent / "pictures" / "bhf.svg"
SHOWN = (
    "BHF splits the layers into blocks, ignores the curvature between blocks, solves each block's system by conjugate "
    "gradient, and changes all weights in one update."
)


def page() -> None:
    """Draw the page."""
    st.title("Guide")
    _asked(st.query_params.get("setting", ""))
    st.image(PICTURE.read_text().replace("currentColor", text_colour()), alt=SHOWN)
    st.write(
        "**HF** solves one system for all weights. **BHF** solves a smaller one for each block of layers: fewer "
        "iterations, but the curvature between blocks is lost. **Adam** uses no curvature: cheap updates, and many."
    )
    launch_button()
    _optimizers()
    guide_study.draw()
    _axes()
    _reference()


def _asked(name: str) -> None:
    """Explain the setting that the address asks for, first: a question mark of the launch form leads here."""
    rows: dict[tuple[str, str], list[str]] = {}
    for title, found in _sections().items():
        for field in found:
            if field.name == name:
                named, *others = _row(field)
                rows.setdefault((field.help, str(field.default)), [f"{named} ({title})", *others])
    if rows:
        st.html(
            table(
                ["Setting", "What it does", "Default", "Paper"], list(rows.values()), label="The setting you asked for"
            )
        )


def _optimizers() -> None:
    for place, optimizer in zip(st.columns(len(OPTIMIZERS)), OPTIMIZERS.values(), strict=True):
        with place.container(border=True, height="stretch"):
            st.subheader(optimizer.long_title)
            st.write(optimizer.summary)


def _axes() -> None:
    st.header("Axes")
    axes = [m for m in UPDATE_MEASURES.values() if m.level is Level.AXIS]
    st.html(table(["Axis", "What it measures"], [[m.label, m.description] for m in axes], label="Axes"))
    st.write(
        "Look at more than one axis: an optimizer that wins by updates may lose by seconds. Launch at least three "
        "seeds, and look at the spread."
    )


def _sections() -> dict[str, list[SettingField]]:
    """Return every setting once, by section: optimizers with curvature share one."""
    shared = form_fields(CurvatureSettings)
    solvers = [optimizer for optimizer in OPTIMIZERS.values() if optimizer.has_curvature]
    sections = {" and ".join(optimizer.title for optimizer in solvers): shared}
    for optimizer in OPTIMIZERS.values():
        own = [field for field in form_fields(optimizer) if not optimizer.has_curvature or field not in shared]
        own += [BLOCKS] * optimizer.has_blocks
        sections |= {f"{optimizer.title} only" if optimizer.has_curvature else optimizer.title: own} if own else {}
    return sections | {"Budget and evaluation": form_fields(Budget) + form_fields(Evaluation)}


def _reference() -> None:
    st.header("Reference of settings")
    for title, found in _sections().items():
        st.subheader(title)
        st.html(table(["Setting", "What it does", "Default", "Paper"], [_row(field) for field in found], label=title))


def _row(field: SettingField) -> list[str]:
    unit = f" [{field.unit}]" if field.unit else ""
    return [f"{field.title}{unit}", field.help, _value(field.default), _value(field.paper)]


def _value(value: object) -> str:
    return "\u2013" if value is None else value_text(value)
