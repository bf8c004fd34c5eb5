"""The compare page, without a browser."""

from backend.client import Client
from backend.schemas import Experiment
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import SPEC


def launch(api: Client, name: str) -> Experiment:
    """Queue a comparison of the sample problem."""
    return api.launch(SPEC.model_copy(update={"name": name}))


def test_the_newest_comparison_is_shown_first(api: Client, open_page: OpenPage) -> None:
    """Without a choice in the URL the page shows the newest comparison, and says so in the URL."""
    launch(api, "older")
    newest = launch(api, "newest")
    page = open_page("compare")
    assert page.multiselect[0].value == [newest.id]
    assert page.query_params["experiments"] in (newest.id, [newest.id])


def test_the_url_chooses_the_comparisons(api: Client, open_page: OpenPage) -> None:
    """The comparisons named in the URL are shown; one that does not exist is left out."""
    first, second = launch(api, "first"), launch(api, "second")
    page = open_page("compare", query={"experiments": f"{first.id},{second.id},nothere0"})
    assert page.multiselect[0].value == [first.id, second.id]


def test_choosing_nothing_asks_for_a_choice(api: Client, open_page: OpenPage) -> None:
    """With no comparison chosen the page says what to do."""
    launch(api, "one")
    page = open_page("compare")
    page.multiselect[0].set_value([]).run()
    assert "Choose one or more comparisons" in page.info[0].value
    assert not page.exception


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """A backend that cannot be reached is named as the reason."""
    page = open_page("compare", url="http://127.0.0.1:9")
    assert "cannot be reached" in page.warning[0].value
