"""The view in the page's URL."""

import pytest

from dashboard.ui.live_curves import LiveView, optimizer_records, read_view


def test_a_view_survives_its_url() -> None:
    """What a view shows is read back from its URL unchanged."""
    view = LiveView(
        x="cpu_seconds",
        panels=("train_loss", "step_norm", "scale", "decreases", "time"),
        logX=True,
        logY=False,
        seeds="band",
        centre="mean",
        full=True,
        band="confidence",
        layout="stack",
        smooth=0.9,
        refresh=0.5,
        hidden=("e1-0", "e1-2"),
        zoom="x:0.5:30,train_loss:-1:2.25",
        target="12.5",
        targetOf="test_loss",
        baseline="e1-1",
        at="5,10",
        atOf="test_loss",
        sort="-best_train_loss",
        targetSort="cost",
        atSort="-10",
        filter="bhf <running>",
        status="open",
        optimizer="bhf",
        problem="autoencoder",
    )
    assert read_view(view.query(accuracy=False), accuracy=False) == view


def test_the_default_view_leaves_the_url_clean() -> None:
    """A view that differs from the default in nothing adds nothing to the URL."""
    assert LiveView().query(accuracy=False) == {}


def test_nonsense_in_a_url_is_left_out() -> None:
    """Unknown axes, measures, numbers and names leave the default as it is."""
    query = {
        "x": "moon",
        "panels": "nothing,<b>",
        "logX": "maybe",
        "smooth": "NaN",
        "refresh": "0.001",
        "other": "1",
        "at": "0,-5",
        "sort": "<b>",
        "status": "asleep",
        "optimizer": "rprop",
        "problem": "../x",
    }
    assert read_view(query, accuracy=False) == LiveView()


def test_accuracy_has_a_panel_where_it_exists() -> None:
    """A problem with an accuracy shows it from the start."""
    assert read_view({}, accuracy=True).panels == ("train_loss", "test_loss", "test_accuracy")


@pytest.mark.parametrize("panels", [("train_loss", "test_loss"), ("train_loss", "test_loss", "test_accuracy")])
@pytest.mark.parametrize("accuracy", [True, False])
def test_panels_survive_a_reload(panels: tuple[str, ...], accuracy: bool) -> None:
    """What is shown at first depends on whether there is an accuracy; the URL says what differs from that."""
    view = LiveView(panels=panels)
    assert read_view(view.query(accuracy=accuracy), accuracy=accuracy) == view


def test_optimizers_differ_in_dash() -> None:
    """The optimizer with blocks has the first dash, then the others with curvature, then the first-order ones."""
    dashes = optimizer_records()["dashes"]
    assert (dashes["bhf"], dashes["hf"]) == (0, 1)
    assert len(set(dashes.values())) == len(dashes)
