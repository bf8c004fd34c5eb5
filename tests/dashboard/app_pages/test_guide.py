"""The page "How to choose", without a browser."""

from backend.schemas import BlockHessianFree
from dashboard.knobs import knobs
from tests.dashboard.conftest import OpenPage


def test_every_setting_is_explained(open_page: OpenPage) -> None:
    """The page names each knob with the contract's own help."""
    page = open_page("guide")
    written = "\n".join(found.proto.body for found in page.get("html")).replace("&#x27;", "'")
    for knob in knobs(BlockHessianFree):
        assert knob.help in written
