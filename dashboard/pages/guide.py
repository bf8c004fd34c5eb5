"""The page "Guide": the optimizers, the axes and every setting explained, and the sensitivity study."""

import streamlit as st

from backend.schemas.experiments import Budget, Evaluation
from backend.schemas.fields import SettingField
from backend.schemas.measures import UPDATE_MEASURES, Level
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.optimizers import CurvatureSettings
from dashboard.launch.form import form_fields
from dashboard.pages import guide_study
from dashboard.ui.html_table import table
from dashboard.ui.setting_text import value_text
from dashboard.ui.theme import STATIC, mode

PICTURES = STATIC.parent / "pictures"


def page() -> None:
    """Draw the page."""
    st.title("Guide")
    st.write("What each optimizer, axis and setting means, and a study of the settings that the paper leaves open.")
    if st.button("Launch a comparison", type="primary"):
        st.switch_page(st.session_state["pages"]["launch"])
    _optimizers()
    _axes()
    _reports()
    _settings()
    guide_study.draw()


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
    _picture("updates", "Over updates: each step of HF and BHF reduces the loss more.", "loss curves over updates")
    _picture("seconds", "The same runs over seconds: each step of HF and BHF takes longer.", "loss curves over seconds")


def _reports() -> None:
    st.header("What a run reports")
    st.write(
        "The compare page shows these while runs train: curves over each axis, the cost of reaching a target loss, "
        "and how conjugate gradient performed in each block of HF and BHF."
    )
    _picture(
        "blocks",
        "Conjugate gradient on a smaller network, stopped by Martens' rule: iterations, stop reason, residual, "
        "decrease of the model, curvature and step. Dashes and marks distinguish the blocks of BHF.",
        "a line for each block",
    )
    _picture("compare", "The compare page.", "curves, the table of runs, values at chosen updates and the target")


def _settings() -> None:
    """Explain every setting once: optimizers with curvature share a section."""
    shared = form_fields(CurvatureSettings)
    solvers = [optimizer for optimizer in OPTIMIZERS.values() if optimizer.has_curvature]
    sections = {" and ".join(optimizer.title for optimizer in solvers): shared}
    for optimizer in OPTIMIZERS.values():
        own = [field for field in form_fields(optimizer) if not optimizer.has_curvature or field not in shared]
        sections |= {f"{optimizer.title} only" if optimizer.has_curvature else optimizer.title: own} if own else {}
    sections["Budget and evaluation"] = form_fields(Budget) + form_fields(Evaluation)
    st.header("Settings")
    for title, found in sections.items():
        st.subheader(title)
        st.html(table(["Setting", "What it does", "Default", "Paper"], _rows(found), label=title))


def _picture(name: str, caption: str, shows: str) -> None:
    """Show a picture of three optimizers on the deep autoencoder, in the page's colours if there is one."""
    files = [PICTURES / f"{name}-{look}.png" for look in (mode(), "light")]
    found = next((file for file in files if file.exists()), None)
    if found:
        st.image(found, caption=caption, alt=f"Adam, HF and BHF on the deep autoencoder: {shows}")


def _rows(found: list[SettingField]) -> list[list[str]]:
    return [
        [
            f"{field.title}{f' [{field.unit}]' if field.unit else ''}",
            field.help,
            _value(field.default),
            _value(field.paper),
        ]
        for field in found
    ]


def _value(value: object) -> str:
    return "\u2013" if value is None else value_text(value)
