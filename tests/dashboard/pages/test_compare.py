"""The compare page, without a browser."""

import pytest
from streamlit.testing.v1 import AppTest

from backend.schemas.catalog import WorkerInfo
from backend.schemas.optimizers import HessianFree
from backend.schemas.runs import Experiment
from dashboard.pages import compare
from tests.clients import BothClient
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import CATALOG, SPEC
from tests.e2e.samples import claims, row
from tests.processes import DEADLINE


def launch(api: BothClient, name: str) -> Experiment:
    """Queue a comparison of the sample problem."""
    return api.launch(SPEC.model_copy(update={"name": name}))


def test_the_newest_comparison_is_shown_first(api: BothClient, open_page: OpenPage) -> None:
    """Without a choice in the URL the page shows the newest comparison, and says so in the URL."""
    launch(api, "older")
    newest = launch(api, "newest")
    page = open_page("compare")
    assert page.multiselect[0].value == [newest.id]
    assert page.query_params["experiments"] in (newest.id, [newest.id])


def test_the_url_chooses_the_comparisons(api: BothClient, open_page: OpenPage) -> None:
    """The comparisons named in the URL are shown, each once; one that does not exist is left out."""
    first, second = launch(api, "first"), launch(api, "second")
    page = open_page("compare", query={"experiments": f"{first.id},{second.id},{first.id},nothere0"})
    assert page.multiselect[0].value == [first.id, second.id]


def test_choosing_nothing_asks_for_a_choice(api: BothClient, open_page: OpenPage) -> None:
    """With no comparison chosen the page says what to do."""
    launch(api, "one")
    page = open_page("compare")
    page.multiselect[0].set_value([]).run()
    assert "Choose one or more comparisons" in page.info[0].value
    assert not page.exception


def test_a_tag_chooses_what_is_shown(api: BothClient, open_page: OpenPage) -> None:
    """Without a choice in the URL all comparisons with its tag are shown, archived ones where asked for."""
    first, second, third = (launch(api, name) for name in ("first", "second", "third"))
    api.edit(first.id, tags=["mine", "old"])
    api.edit(second.id, tags=["mine"])
    api.edit(third.id, tags=["mine"], archived=True)
    page = open_page("compare", query={"tag": "mine"})
    assert page.multiselect[0].value == [second.id, first.id]
    assert page.multiselect(key="tag").options == ["mine", "old"]
    page = open_page("compare", query={"tag": "mine", "archived": "1"})
    assert page.multiselect[0].value == [third.id, second.id, first.id]
    page.toggle(key="archived").set_value(False).run()
    assert "archived" not in page.query_params
    assert page.query_params["tag"] in ("mine", ["mine"])
    for one in (first, second, third):
        api.delete(one.id)


def test_a_note_is_text(api: BothClient, open_page: OpenPage) -> None:
    """A note and tags stand under the choice; markup in a note is written out."""
    one = launch(api, "noted")
    api.edit(one.id, note="<b>bold</b>\nnext", tags=["paper"])
    page = open_page("compare", query={"experiments": one.id})
    (about,) = [found.proto.body for found in page.get("html") if "bhf-about" in found.proto.body]
    assert "&lt;b&gt;bold&lt;/b&gt;\nnext" in about
    assert "<span class='bhf-tag'>paper</span>" in about
    api.edit(one.id, tags=[])


def test_a_deleted_comparison_can_be_had_back(api: BothClient, open_page: OpenPage) -> None:
    """A URL that names a deleted comparison says so, shows the others, and undoes the deletion by a press."""
    kept, gone = launch(api, "kept"), launch(api, "gone <b>")
    api.delete(gone.id)
    page = open_page("compare", query={"experiments": f"{kept.id},{gone.id}"})
    assert page.multiselect[0].value == [kept.id]
    assert any("Deleted: gone &lt;b&gt;" in found.proto.body for found in page.get("html"))
    page.button(key=f"undo-{gone.id}").click().run()
    assert not page.exception
    assert page.multiselect[0].value == [kept.id, gone.id]
    assert api.experiment(gone.id).deleted_at is None


def test_what_to_average_over_stands_in_the_url(api: BothClient, open_page: OpenPage) -> None:
    """Settings that differ are offered, the choice is kept in the URL, and what does not differ is left out of it."""
    one = api.launch(SPEC.model_copy(update={"optimizers": [HessianFree(), HessianFree(damping=1)]}))
    page = open_page("compare", query={"experiments": one.id, "over": "seed,warm_start"})
    assert page.multiselect(key="over").options == ["seed", "damping"]
    assert page.multiselect(key="over").value == ["seed"]
    page.multiselect(key="over").set_value(["seed", "damping"]).run()
    assert page.query_params["over"] in ("seed,damping", ["seed,damping"])


def test_a_sweeps_choice_stands_in_the_url(api: BothClient, open_page: OpenPage) -> None:
    """Outcome and setting come from the URL, go into it when they are changed, and the curves' view stays there."""
    settings = [(0.1, 0.9), (1, 0.9), (1, 0.5)]
    kinds = [HessianFree(damping=damping, warm_start=warm_start) for damping, warm_start in settings]
    one = api.launch(SPEC.model_copy(update={"optimizers": kinds}))
    worker = api.register(WorkerInfo(name="sweeps", device="cpu", threads=1), CATALOG)
    for run, token in claims(api, worker.worker_id):
        api.append(run, token, [row(1)])
    page = open_page(
        "compare", query={"experiments": one.id, "x": "cost", "setting": "warm start", "outcome": "nothing"}
    )
    assert (page.selectbox(key="outcome").value, page.selectbox(key="setting").value) == (
        "best_train_loss",
        "warm start",
    )
    page.selectbox(key="outcome").select("last_test_loss").run()
    kept = {name: value[0] if isinstance(value, list) else value for name, value in page.query_params.items()}
    assert kept == {"experiments": one.id, "x": "cost", "setting": "warm start", "outcome": "last_test_loss"}
    page.selectbox(key="setting").select("damping").run()
    assert "setting" not in page.query_params


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """The page warns that the backend is unreachable."""
    page = open_page("compare", url="http://127.0.0.1:9")
    assert page.warning


def test_comparisons_of_one_name_are_told_apart(api: BothClient, open_page: OpenPage) -> None:
    """Two comparisons of one name and minute stay as chosen when another widget changes."""
    first, second = launch(api, "baseline"), launch(api, "baseline")
    page = open_page("compare", query={"experiments": f"{first.id},{second.id}"})
    page.toggle(key="archived").set_value(True).run()
    assert page.multiselect(key="chosen").value == [first.id, second.id]
    api.delete(first.id)
    api.delete(second.id)


def test_the_chosen_one_of_two_equal_names_is_deleted(api: BothClient, open_page: OpenPage) -> None:
    """The dialog deletes the comparison that was chosen in it, whatever the names."""
    open_page("guide")  # sets the backend's address
    first, second = launch(api, "baseline"), launch(api, "baseline")
    page = AppTest.from_string(
        "from dashboard.compare import edit_dialog\nfrom dashboard.ui.backend import client\n"
        f"edit_dialog.edit([client().experiment(id_) for id_ in ({first.id!r}, {second.id!r})], [])\n",
        default_timeout=DEADLINE,
    ).run()
    page.selectbox(key="managed").set_value(second.id).run()
    page.button(key="delete").click().run()
    assert api.experiment(second.id).deleted_at is not None
    assert api.experiment(first.id).deleted_at is None
    api.delete(first.id)


def test_the_picker_finds_older_comparisons(
    api: BothClient, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison that the picker does not list is found by a part of its name, and can be chosen."""
    old = launch(api, "Oldest of all")
    kept = [launch(api, f"newer {number}") for number in range(2)]
    monkeypatch.setattr(compare, "OFFERED", 2)
    page = open_page("compare")
    assert not any("Oldest" in option for option in page.multiselect(key="chosen").options)
    page.text_input(key="search").set_value("oldest OF").run()
    assert any("Oldest" in option for option in page.multiselect(key="chosen").options)
    page.multiselect(key="chosen").set_value([kept[-1].id, old.id]).run()
    assert page.query_params["experiments"] in (f"{kept[-1].id},{old.id}", [f"{kept[-1].id},{old.id}"])
    for one in (old, *kept):
        api.delete(one.id)
