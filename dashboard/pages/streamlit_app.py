"""The script that Streamlit runs for every visitor: the frame around the pages."""

import streamlit as st

from dashboard.pages import choose, compare, guide, launch, paper, queue, run
from dashboard.ui.live_curves import watch
from dashboard.ui.theme import STATIC, style_sheet


def main() -> None:
    """Draw the navigation and the page that the URL names."""
    st.set_page_config(page_title="BlockHF", page_icon=STATIC / "icon.png", layout="wide")
    st.html(style_sheet())
    st.logo(STATIC / "logo.svg", size="large")
    pages = {
        "compare": st.Page(compare.page, title="Compare", icon=":material/monitoring:", default=True),
        "launch": st.Page(launch.page, title="Launch", url_path="launch", icon=":material/rocket_launch:"),
        "queue": st.Page(queue.page, title="Queue", url_path="queue", icon=":material/list_alt:"),
        "paper": st.Page(paper.page, title="Paper", url_path="paper", icon=":material/article:"),
        "choose": st.Page(choose.page, title="What to choose", url_path="choose", icon=":material/rule:"),
        "guide": st.Page(guide.page, title="How to choose", url_path="guide", icon=":material/menu_book:"),
        "run": st.Page(run.page, title="Run", url_path="run", visibility="hidden"),
    }
    st.session_state["pages"] = pages
    chosen = st.navigation(list(pages.values()), position="top")
    watch()
    chosen.run()


if __name__ == "__main__":
    main()
