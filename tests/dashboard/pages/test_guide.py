"""The page "Guide", without a browser."""

from backend.schemas.optimizers import BlockHessianFree
from dashboard.launch.form import form_fields
from dashboard.pages.guide import PICTURES
from tests.benchmarks.pages import VIEWS
from tests.dashboard.conftest import OpenPage


def test_every_setting_is_explained(open_page: OpenPage) -> None:
    """The page names each field with the contract's help, once where HF and BHF share it; a switch is on or off."""
    page = open_page("guide")
    written = "\n".join(found.proto.body for found in page.get("html")).replace("&#x27;", "'")
    for field in form_fields(BlockHessianFree):
        assert written.count(field.help) == 1 or field.name in {"learning_rate", "gradient_batch"}
    assert "<td>off</td>" in written
    assert "False" not in written


def test_it_shows_pictures_of_runs(open_page: OpenPage) -> None:
    """Axes and blocks are shown by real runs, each picture with words for those who do not see it."""
    assert len(open_page("guide").get("image")) == len(VIEWS)
    assert {f"{name}-{mode}.png" for name in VIEWS for mode in ("light", "dark")} <= {
        file.name for file in PICTURES.iterdir()
    }
    assert all(file.stat().st_size < 130_000 for file in PICTURES.iterdir())
