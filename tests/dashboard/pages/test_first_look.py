"""What the page "Compare" shows before the first comparison, without a browser."""

from backend.client import Client
from tests.dashboard.conftest import OpenPage
from tests.processes import Processes


def test_an_empty_page_shows_the_papers_figure_and_runs_it(own: Processes, able: Client, open_page: OpenPage) -> None:
    """The recorded figure is there before anything was launched; a press queues its smallest version."""
    page = open_page("compare", url=own.backend_url)
    assert len(page.get("bidi_component")) == 2  # the figure, and what watches for the first comparison
    button = page.button(key="run-live")
    assert button.label.startswith("Run this live: quick")
    button.click().run()  # opens the comparison, which is a page that this test does not have
    [made] = able.experiments()
    assert made.spec.reproduces == "paper.autoencoder.quick"
