"""The script that Streamlit runs for every visitor: navigation and the chosen page."""

from typing import Literal

import streamlit as st

from dashboard.pages import compare, guide, launch, paper, queue, run
from dashboard.ui.backend import may_launch
from dashboard.ui.live_curves import backend_banner
from dashboard.ui.theme import STATIC, style_sheet


def main() -> None:
    """Draw the navigation and the page of the URL."""
    st.set_page_config(page_icon=STATIC / "icon.png", layout="wide")
    st.html(style_sheet())
    st.logo(STATIC / "logo.svg", size="large")
    launches: Literal["visible", "hidden"] = "visible" if may_launch() else "hidden"
    pages = {
        "compare": st.Page(compare.page, title="Compare", icon=":material/monitoring:", default=True),
        "launch": st.Page(
            launch.page, title="Launch", url_path="launch", icon=":material/rocket_launch:", visibility=launches
        ),
        "queue": st.Page(queue.page, title="Queue", url_path="queue", icon=":material/list_alt:"),
        "paper": st.Page(paper.page, title="Paper", url_path="paper", icon=":material/article:"),
        "guide": st.Page(guide.page, title="Guide", url_path="guide", icon=":material/menu_book:"),
        "run": st.Page(run.page, title="Run", url_path="run", visibility="hidden"),
        "choose": st.Page(_guide, title="Guide", url_path="choose", visibility="hidden"),
    }
    st.session_state["pages"] = pages
    chosen = st.navigation(list(pages.values()), position="top")
    st.set_page_config(page_title=f"{chosen.title} \N{EN DASH} BlockHF")
    backend_banner()
    chosen.run()


def _guide() -> None:
    """Redirect links to the study, which was a page of its own, to the guide."""
    st.switch_page(st.session_state["pages"]["guide"])


if __name__ == "__main__":
    main()
