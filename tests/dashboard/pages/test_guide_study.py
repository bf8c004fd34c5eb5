"""The sensitivity study on the guide page, without a browser."""

import html

from backend.client import Client
from backend.schemas.paper import Answer, PlotlyFigure
from dashboard.pages.guide_study import ADVICE, numbers, origin, training
from dashboard.ui.text import escape
from tests.dashboard.conftest import OpenPage
from tests.processes import Processes


def answer(*, recorded: bool, ended: int, total: int) -> Answer:
    """Make an answer without a figure."""
    return Answer(
        question="damping", title="?", text="", advice="", recorded=recorded, ended=ended, total=total,
        experiment="e0000001" if total and not recorded else None,
        figure=PlotlyFigure(data=[], layout={}),
    )  # fmt: skip


def test_the_origin_of_an_answer() -> None:
    """Runs that ship, one's own, and none are told apart."""
    cases = [(True, 24, 24), (False, 5, 24), (False, 0, 0)]
    answers = [answer(recorded=recorded, ended=ended, total=total) for recorded, ended, total in cases]
    assert [origin(one) for one in answers] == [
        "Recorded results: 24 runs, all ended",
        "Your runs: 24 runs, 5 ended",
        "No runs yet",
    ]
    assert training(answers) == ["e0000001"]


def test_a_figure_is_a_table_too() -> None:
    """Each setting has the median and the seeds of each optimizer that was tried with it."""
    data = [
        {"name": "BHF", "mode": "lines+markers", "x": ["1", "2"], "y": [20.0, 30.0]},
        {"name": "BHF, each seed", "mode": "markers", "x": ["1", "1", "2"], "y": [19.0, 21.0, 30.0]},
        {"name": "HF", "mode": "lines+markers", "x": ["2"], "y": [12345.678]},
        {"name": "HF, each seed", "mode": "markers", "x": ["2"], "y": [12345.678]},
    ]
    head, rows = numbers(PlotlyFigure(data=data, layout={}))
    assert head == ["Setting", "BHF, final train loss", "HF, final train loss"]
    assert rows == [["1", "20 (19, 21)", "\u2013"], ["2", "30 (30)", "1.235e+04 (1.235e+04)"]]


def test_every_question_is_answered_and_can_be_run(own: Processes, able: Client, open_page: OpenPage) -> None:
    """Each question has its advice and a button; a press queues its sweep, and the answer is of it from then on."""
    answers = able.study().answers
    page = open_page("guide", url=own.backend_url)
    marked = "\n".join(found.value for found in page.markdown)
    assert all(f"**{escape(one.title)}**" in marked for one in answers)
    assert all(escape(ADVICE[one.question][0]) in marked for one in answers)
    written = "\n".join(found.proto.body for found in page.get("html"))
    assert all(html.escape(one.text) in written for one in answers)
    drawn = [one for one in answers if one.figure.data]
    assert len(page.get("bidi_component")) == len(drawn)
    assert all(html.escape(f"{one.title} Table") in written for one in drawn)
    assert {f"sweep-{one.question}" for one in answers} <= {button.key for button in page.button}
    page.button(key=f"sweep-{answers[0].question}").click().run()
    assert not page.exception
    (made,) = able.experiments()
    assert made.name == f"Study: {answers[0].title}"
    assert page.caption[0].value == f"Your runs: {len(made.runs)} runs, 0 ended"
    assert page.button(key=f"curves-{answers[0].question}")


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """The page warns that the backend is unreachable and still explains the settings."""
    page = open_page("guide", url="http://127.0.0.1:9")
    assert page.warning
    assert page.subheader
