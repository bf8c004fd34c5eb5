"""The page "How to choose": the optimizers, their knobs and the axes, for someone who sees them for the first time."""

import streamlit as st

from backend.schemas.experiments import Budget, Evaluation
from backend.schemas.fields import SettingField
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from dashboard.launch.form import form_fields
from dashboard.ui.html_table import table
from dashboard.ui.setting_text import OPTIMIZER_TITLES, value_text
from dashboard.ui.theme import STATIC, mode

PICTURES = STATIC.parent / "pictures"

OPTIMIZERS = {
    "adam": "One gradient per update, divided by a running mean of its size. Cheap updates, many of them; it tolerates "
    "small batches. Take it as the baseline.",
    "hf": "Each update solves a linear system with the Gauss-Newton matrix by conjugate gradient, from products with "
    "that matrix alone. Few, expensive updates; it needs large gradient batches. Take it where the number of updates "
    "counts, as in distributed training.",
    "bhf": "The same with the curvature between blocks of layers left out: each block has its own, smaller system, "
    "which conjugate gradient solves in fewer iterations, side by side if the machine allows. Take it first; start "
    "with the problem's own blocks, about equal in size.",
}
AXES = [
    ["Updates", "how many times the weights changed; what a comparison of convergence usually shows"],
    ["Epochs", "passes over the training set: how much data was used, with repetition"],
    ["Seconds", "training time on this machine, evaluation not counted; depends on hardware and on what else runs"],
    [
        "CPU seconds",
        "processor time of training, all threads; what else runs on the machine hardly changes it",
    ],
    [
        "Cost",
        "work in gradients of one gradient batch, counted from what was really computed; the same on every machine",
    ],
    ["Images", "images drawn for gradients"],
]


def page() -> None:
    """Draw the page."""
    st.title("How to choose")
    st.write("Which optimizer, which axis to judge it by, and what each setting does.")
    if st.button("Launch a comparison", type="primary"):
        st.switch_page(st.session_state["pages"]["launch"])
    for place, (kind, text) in zip(st.columns(len(OPTIMIZERS)), OPTIMIZERS.items(), strict=True):
        with place.container(border=True, height="stretch"):
            st.subheader(OPTIMIZER_TITLES[kind])
            st.write(text)
    st.subheader("Axes")
    st.html(table(["Axis", "What it measures"], AXES, label="Axes"))
    st.write(
        "Read a curve on several axes before you believe it: an optimizer that wins by updates may lose by seconds. "
        "Launch at least three seeds, and look at the band."
    )
    _picture("updates", "Over updates: the second-order steps go further each.", "loss curves over updates")
    _picture(
        "seconds",
        "The same runs over seconds, on a busy machine: each of those steps takes longer.",
        "loss curves over seconds",
    )
    st.subheader("What a run tells")
    st.write(
        "The compare page draws all of this while runs train: curves over any axis, what each configuration needs to "
        "reach a target, and for HF and BHF what each block's solve did."
    )
    _picture(
        "blocks",
        "What the solves of a smaller network did, stopped by Martens' rule: iterations, why they stopped, residual, "
        "decrease of the model, curvature and step; dashes and marks tell the blocks of BHF apart.",
        "a line for each block",
    )
    _picture("compare", "The compare page.", "curves, the table of runs, the values at chosen updates and the target")
    _settings()


def _settings() -> None:
    """Explain every setting once: what HF and BHF share stands there for both."""
    shared, own = form_fields(HessianFree), form_fields(BlockHessianFree)
    sections = {
        "Settings of Adam": form_fields(Adam),
        "Settings of HF and BHF": [field for field in own if field in shared],
        "Settings of BHF alone": [field for field in own if field not in shared],
        "Budget and evaluation": form_fields(Budget) + form_fields(Evaluation),
    }
    for title, found in sections.items():
        st.subheader(title)
        st.html(table(["Setting", "What it does", "Default", "Paper"], _rows(found), label=title))


def _picture(name: str, caption: str, shows: str) -> None:
    """Show a picture of three optimizers on the deep autoencoder, in the page's colours where there is one."""
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
