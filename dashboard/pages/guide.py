"""The page "Guide": the optimizers, the axes and every setting explained, and the sensitivity study."""

import streamlit as st

from backend.schemas.experiments import Budget, Evaluation
from backend.schemas.fields import SettingField
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from dashboard.launch.form import form_fields
from dashboard.pages import guide_study
from dashboard.ui.html_table import table
from dashboard.ui.setting_text import OPTIMIZER_TITLES, value_text
from dashboard.ui.theme import STATIC, mode

PICTURES = STATIC.parent / "pictures"

OPTIMIZERS = {
    "adam": "Scales each component of the gradient by a running average of its size. Updates are cheap, but many are "
    "needed. Small batches are enough. Use it as the baseline.",
    "hf": "Solves a linear system with the Gauss-Newton matrix in each update. Conjugate gradient needs only products "
    "with this matrix. Updates are few and expensive, and need large gradient batches. Use it if the number of "
    "updates matters, as in distributed training.",
    "bhf": "Like HF, but ignores curvature between blocks of layers. Each block has its own, smaller system, which "
    "conjugate gradient solves in fewer iterations. Start with the problem's default blocks, which are about equal in "
    "size. The study below compares numbers of blocks.",
}
AXES = [
    ["Updates", "number of weight changes; the usual axis for comparing convergence"],
    ["Epochs", "passes over the training set"],
    ["Seconds", "training time on this machine without evaluation; depends on the hardware and on other processes"],
    ["CPU seconds", "processor time of training, summed over threads; other processes hardly change it"],
    ["Cost", "work in units of one gradient over the gradient batch; the same on every machine"],
    ["Images", "images drawn for gradients"],
]


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
    for place, (kind, text) in zip(st.columns(len(OPTIMIZERS)), OPTIMIZERS.items(), strict=True):
        with place.container(border=True, height="stretch"):
            st.subheader(OPTIMIZER_TITLES[kind])
            st.write(text)


def _axes() -> None:
    st.header("Axes")
    st.html(table(["Axis", "What it measures"], AXES, label="Axes"))
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
    """Explain every setting once: HF and BHF share a section."""
    shared, own = form_fields(HessianFree), form_fields(BlockHessianFree)
    sections = {
        "Adam": form_fields(Adam),
        "HF and BHF": [field for field in own if field in shared],
        "BHF only": [field for field in own if field not in shared],
        "Budget and evaluation": form_fields(Budget) + form_fields(Evaluation),
    }
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
