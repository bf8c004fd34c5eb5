"""The page "Guide", without a browser."""

from xml.etree import ElementTree

import pytest

from backend.schemas.optimizers import BlockHessianFree
from dashboard.launch.form import form_fields
from dashboard.pages.guide import PICTURE, SHOWN
from tests.dashboard.conftest import OpenPage


def test_every_setting_is_explained(open_page: OpenPage) -> None:
    """The page names each field with the contract's help, once where HF and BHF share it; a switch is on or off."""
    page = open_page("guide")
    written = "\n".join(found.proto.body for found in page.get("html")).replace("&#x27;", "'")
    for field in form_fields(BlockHessianFree):
        assert written.count(field.help) == 1 or field.name in {"learning_rate", "gradient_batch"}
    assert "<td>off</td>" in written
    assert "False" not in written


def test_it_begins_with_a_picture_of_what_bhf_does(open_page: OpenPage) -> None:
    """The picture is drawn in the page's colour, and has words for those who do not see it."""
    [picture] = open_page("guide").get("image")
    assert picture.proto.imgs[0].alt == SHOWN
    drawing = PICTURE.read_text()
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert "currentColor" in drawing


@pytest.mark.parametrize(
    ("setting", "rows"), [("damping", 1), ("learning_rate", 3), ("blocks", 1), ("polyak_decay", 1), ("nothing", 0)]
)
def test_a_setting_is_explained_first_where_the_address_asks_for_it(
    open_page: OpenPage, setting: str, rows: int
) -> None:
    """A question mark of the launch form leads to the setting, once for each optimizer that has another default."""
    first = open_page("guide", query={"setting": setting}).get("html")[0].proto.body
    assert first.count("<tr><th scope='row'>") == rows
