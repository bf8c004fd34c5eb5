"""What a dashboard offers that may only read."""

from collections.abc import Iterator

import pytest

from backend.client import Client
from backend.errors import Forbidden
from backend.schemas.api import Access, Scope
from dashboard.ui import backend as pages
from tests.clients import BothClient
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import SPEC


@pytest.fixture(params=["scope", "setting"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the pages only read, by their token's scope or by the dashboard's setting."""
    if request.param == "scope":
        monkeypatch.setattr(Client, "access", lambda _: Access(scopes=[Scope.READ]))
    else:
        monkeypatch.setenv("BLOCKHF_DASHBOARD_READ_ONLY", "1")
    pages._scopes.clear()
    yield
    pages._scopes.clear()
    pages.client.clear()


@pytest.mark.usefixtures("reading")
def test_who_may_only_read_sees_no_verbs(api: BothClient, open_page: OpenPage) -> None:
    """Neither the pages nor the rows of runs offer to launch or to change anything."""
    made = api.launch(SPEC)
    asked = {
        "queue": {},
        "run": {"id": made.runs[0].id},
        "compare": {"experiments": made.id},
        "launch": {},
        "guide": {},
    }
    offered = {name: [button.label for button in open_page(name, query=query).button] for name, query in asked.items()}
    assert offered == {"queue": [], "run": ["Open comparison"], "compare": [], "launch": [], "guide": []}
    assert not open_page("queue").checkbox


def test_a_dashboard_that_only_reads_refuses_changes(api: BothClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page does not offer, it also cannot do."""
    monkeypatch.setenv("BLOCKHF_DASHBOARD_READ_ONLY", "1")
    monkeypatch.setenv("BLOCKHF_BACKEND_URL", str(api._http.base_url))
    pages.client.clear()
    run = api.launch(SPEC).runs[0]
    with pytest.raises(Forbidden):
        pages.client().cancel(run.id)
    assert pages.client().run(run.id).status == "queued"
    pages.client.clear()
