"""The browser's own arithmetic: buckets, joining, means over seeds, targets, against values computed by hand."""

import re
import statistics
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.e2e.conftest import Call, Service

pytestmark = pytest.mark.browser


def test_buckets_are_powers_of_two(call: Call) -> None:
    """The bucket is the smallest power of two that leaves at most 400 points."""
    widths = [call("store/series", "bucketFor", updates) for updates in (0, 1, 400, 401, 800, 5000, 100_000)]
    assert widths == [1, 1, 1, 2, 2, 16, 256]


def test_an_increment_replaces_the_last_bucket(call: Call) -> None:
    """The bucket that was still filling is replaced, whole ones before it stay."""
    held = {"update": [3, 7, 9], "loss": [5, 4, 3]}
    got = {"update": [11, 13], "loss": [2, 1], "status": "running"}
    assert call("store/series", "join", held, got, 4) == {"update": [3, 7, 11, 13], "loss": [5, 4, 2, 1]}


def test_the_first_answer_is_taken_and_an_empty_one_changes_nothing(call: Call) -> None:
    """Joining to nothing takes the answer's columns; an answer without rows leaves what is held."""
    assert call("store/series", "join", None, {"update": [1], "loss": [2], "row_generation": 1}, 1) == {
        "update": [1],
        "loss": [2],
    }
    assert call("store/series", "join", {"update": [1]}, {"update": []}, 1) == {"update": [1]}


def test_points_leave_out_what_was_not_measured_or_cannot_be_drawn(call: Call) -> None:
    """Null is no point, and a logarithmic axis takes positive values only."""
    columns = {"update": [1, 2, 3, 4], "loss": [3, None, 0, 1]}
    assert call("store/series", "points", columns, "update", "loss")["x"] == [1, 3, 4]
    assert call("store/series", "points", columns, "update", "loss", {"logY": True})["x"] == [1, 4]


def test_a_divergence_stands_at_the_last_finite_value(call: Call) -> None:
    """The event names the update that was not finite, at the height of the last one that was."""
    columns = {"update": [1, 2, 3], "loss": [3, 2, None], "cost": [10, 20, 30], "diverged": [False, False, True]}
    assert call("store/series", "divergence", columns, "cost", "loss") == {"update": 3, "x": 30, "y": 2}
    assert (
        call("store/series", "divergence", {"update": [1], "loss": [1], "diverged": [False]}, "update", "loss") is None
    )


COARSE = {"update": [7, 15, 23, 31, 39], "seconds": [0.7, 1.5, 2.3, 3.1, 3.9]}


@pytest.mark.parametrize(
    ("axis", "shown", "updates"),
    [
        ("update", [16, 30], [7, 31]),
        ("seconds", [2.0, 2.5], [7, 31]),
        ("update", [0, 100], [0, 39]),
        ("update", [25, 28], [15, 31]),
        ("update", [40, 50], None),
    ],
)
def test_the_updates_of_a_window(call: Call, axis: str, shown: list[float], updates: list[int] | None) -> None:
    """The points within, and one more at either end so that lines reach the frame: (after, until]."""
    assert call("store/zoom_detail", "windowOf", COARSE, axis, shown) == updates


def test_a_slice_holds_the_updates_of_its_window(call: Call) -> None:
    """Every column is cut alike."""
    assert call("store/series", "slice", COARSE, 15, 31) == {"update": [23, 31], "seconds": [2.3, 3.1]}


def line(*values: float) -> dict[str, Any]:
    """Make a line with one value per update."""
    updates = list(range(1, len(values) + 1))
    return {"x": [float(update) for update in updates], "y": list(values), "update": updates}


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [
        ("range", 1, 6),
        ("deviation", 3 - 7**0.5, 3 + 7**0.5),
        ("confidence", 3 - 4.303 * (7 / 3) ** 0.5, 3 + 4.303 * (7 / 3) ** 0.5),
    ],
)
def test_the_band_of_three_seeds(call: Call, band: str, low: float, high: float) -> None:
    """Of 1, 2 and 6: mean 3, median 2, range 1 to 6, deviation sqrt 7, 95 % by Student's t of 2 degrees of freedom."""
    for centre, value in (("mean", 3), ("median", 2)):
        found = call("store/series", "mean", [line(1), line(2), line(6)], 1, {"band": band, "centre": centre})
        assert (found["n"], found["y"]) == (3, [value])
        assert (found["low"][0], found["high"][0]) == pytest.approx((low, high))


@pytest.mark.parametrize(("count", "t"), [(2, 12.706), (11, 2.228), (12, 2.201), (20, 2.093), (100, 1.984)])
def test_the_confidence_of_many_seeds(call: Call, count: int, t: float) -> None:
    """Half the band is the 97.5 % point of Student's t, deviation and root of the number of seeds, however many."""
    found = call("store/series", "mean", [line(n) for n in range(count)], 1, {"band": "confidence"})
    deviation = statistics.stdev(range(count))
    half = found["high"][0] - found["y"][0]
    assert half == pytest.approx(t * deviation / count**0.5, rel=2e-3)


def test_long_runs_are_asked_for_in_buckets_at_once(page: Page, service: Service) -> None:
    """When another measure is wanted of runs that have grown long meanwhile, their raw rows are not read again."""
    page.goto(f"{service.dashboard_url}/healthz")
    asked: list[str] = []
    columns = {"status": "running", "row_generation": 1, "last_update": 5000, "update": [5000], "train_loss": [1]}

    def answer(route: Route) -> None:
        if "/series" in route.request.url:
            asked.append(re.findall(r"bucket=([0-9]+)", route.request.url)[0])
            route.fulfill(json={"runs": {"r": columns}})
        else:
            route.fulfill(json={"runs": [{"id": "r", "status": "running", "summary": {"updates": 5000}}]})

    page.route("**/api/v1/**", answer)
    page.evaluate("""async () => {
      const { Store } = await import("/assets/store/store.js");
      const rest = async () => {
        do await new Promise((done) => setTimeout(done, 50)); while (store.busy || store.again);
      };
      const store = new Store(() => {});
      store.expect(0);
      store.want(["r"], ["e"], ["train_loss"]);
      await rest();
      store.want(["r"], ["e"], ["train_loss", "test_loss"]);
      await rest();
      store.stop();
    }""")
    assert asked[:2] == ["1", "16"]  # the page was drawn when the run was new
    assert set(asked[2:]) == {"16"}


def test_the_mean_ends_where_a_seed_ended(call: Call) -> None:
    """Where a seed has ended early there is no mean; a seed that has not begun does not count."""
    found = call("store/series", "mean", [line(1, 1, 1), line(3, 3), line()], 1, {"band": "range"})
    assert (found["n"], found["x"], found["y"]) == (2, [1, 2], [2, 2])


def test_the_mean_goes_on_where_a_seed_is_still_to_arrive(call: Call) -> None:
    """A seed that still trains does not count where it has not been yet, and each point knows how many counted."""
    found = call("store/series", "mean", [line(1, 1, 1), line(3, 3)], 1, {"band": "range"}, [False, True])
    assert (found["y"], found["count"]) == ([2, 2, 1], [2, 2, 1])


def test_smoothing_begins_at_the_first_value(call: Call) -> None:
    """The moving average is corrected for its start, and a constant stays as it is."""
    assert call("store/series", "smooth", [2, 2, 2], 0.9) == pytest.approx([2, 2, 2])
    assert call("store/series", "smooth", [0, 1], 0.5) == pytest.approx([0, 2 / 3])
    assert call("store/series", "smooth", [0, 1], 0) == [0, 1]


SERIES = {
    "a1": {"update": [1, 2, 3], "epoch": [1, 2, 3], "seconds": [1, 2, 3], "cost": [1, 2, 3], "train_loss": [9, 5, 4]},
    "a2": {"update": [1, 2, 3], "epoch": [1, 2, 3], "seconds": [2, 4, 6], "cost": [1, 2, 3], "train_loss": [9, 8, 5]},
    "b1": {"update": [1, 2], "epoch": [1, 2], "seconds": [9, 18], "cost": [7, 14], "train_loss": [5, 3]},
    "b2": {"update": [1], "epoch": [1], "seconds": [9], "cost": [7], "train_loss": [8]},
    "c1": {"update": [1], "epoch": [1], "seconds": [1], "cost": [1], "train_loss": [7]},
}
STATUS = {"a1": "finished", "a2": "finished", "b1": "finished", "b2": "running", "c1": "finished"}
GROUPS = {"A": ["a1", "a2"], "B": ["b1", "b2"], "C": ["c1"]}


def rows(page: Page, target: float) -> Any:
    """Compute the target table of the sample."""
    code = """async ([series, status, groups, target]) => {
      const { targetRows, outcome, compared } = await import("/assets/store/time_to_target.js");
      const runs = new Map(Object.entries(status).map(([id, status]) => [id, { status, final: status !== "running" }]));
      const all = Object.entries(groups).map(([key, ids]) => ({ key, runs: ids.map((id) => ({ id })) }));
      const rows = targetRows(all, new Map(Object.entries(series)), runs, "train_loss", target);
      return rows.map((row) => [outcome(row), row.costs.update, row.costs.seconds, compared(row, rows[0])]);
    }"""
    return page.evaluate(code, [SERIES, STATUS, GROUPS, target])


def test_the_target_table(page: Page, service: Service) -> None:
    """At a target of 5: A needs 2 and 3 updates, 2 and 6 s; B's first seed 1 update and 9 s while its second still
    runs; C ended above it."""
    page.goto(f"{service.dashboard_url}/healthz")
    found = rows(page, 5)
    assert found == [
        [
            "reached by 2 of 2",
            {"mean": 2.5, "low": 2, "high": 3},
            {"mean": 4, "low": 2, "high": 6},
            "about equal updates, about equal time, about equal cost",
        ],
        [
            "reached by 1 of 2, 1 still running",
            {"mean": 1, "low": 1, "high": 1},
            {"mean": 9, "low": 9, "high": 9},
            "2.5 \u00d7 fewer updates, 2.3 \u00d7 the time, 2.8 \u00d7 the cost",
        ],
        ["not reached within the budget", None, None, ""],
    ]


def test_the_default_target_is_the_worst_best(page: Page, service: Service) -> None:
    """Without a choice the target is what every run with values has reached: 8, the best of b2."""
    page.goto(f"{service.dashboard_url}/healthz")
    code = """async ([series]) => {
      const { defaultTarget } = await import("/assets/store/time_to_target.js");
      return defaultTarget(Object.keys(series).map((id) => ({ id })), new Map(Object.entries(series)), "train_loss");
    }"""
    assert page.evaluate(code, [SERIES]) == 8


TIMES = {
    "update": [1, 2, 3, 4], "seconds": [1.0, 2.0, 3.0, 4.0], "gradient_seconds": [0.25] * 4,
    "curvature_seconds": [0.5] * 4, "evaluation_seconds": [None, 0.125, None, 0.125],
}  # fmt: skip


def test_where_the_time_went(call: Call) -> None:
    """Gradient, curvature and evaluations add up over the updates; the rest is what the clock shows beyond."""
    whole = {"gradient": 1.0, "curvature": 2.0, "evaluation": 0.25, "rest": 1.0, "updates": 4}
    assert call("store/time_breakdown", "timeOf", TIMES, 2) == whole
    silent = TIMES | {"gradient_seconds": [None, None, 0.25, 0.25]}
    half = {"gradient": 0.5, "curvature": 1.0, "evaluation": 0.125, "rest": 0.5, "updates": 2}
    assert call("store/time_breakdown", "timeOf", silent, 2) == half
    assert call("store/time_breakdown", "timeOf", TIMES | {"gradient_seconds": [None] * 4}, 2) is None


def test_where_the_time_of_thinned_rows_went(call: Call) -> None:
    """A point of several updates counts as many; of rows that begin later the first one is left out."""
    points: dict[str, list[float]] = {
        "update": [3, 7, 9], "seconds": [3.0, 7.0, 9.0], "gradient_seconds": [0.25] * 3,
        "curvature_seconds": [0.5] * 3, "evaluation_seconds": [0.5, 0.5, 0.5],
    }  # fmt: skip
    whole = {"gradient": 2.25, "curvature": 4.5, "evaluation": 1.5, "rest": 2.25, "updates": 9}
    assert call("store/time_breakdown", "timeOf", points, 3) == whole
    later = {name: column[1:] for name, column in points.items()}
    assert call("store/time_breakdown", "timeOf", later, 3)["updates"] == 2


def test_a_point_without_its_axis_is_left_out(call: Call) -> None:
    """Older rows have no processor time: they are not drawn over it."""
    columns = {"update": [1, 2], "cpu_seconds": [None, 2.0], "train_loss": [5, 4]}
    assert call("store/series", "points", columns, "cpu_seconds", "train_loss")["x"] == [2.0]


def test_variants_beyond_the_dashes_have_another_shade(call: Call) -> None:
    """18 configurations of one optimizer look different, each by its dash and its shade."""
    theme = {"colours": {"bhf": "#00825f"}, "others": [], "text": "#1b2330", "background": "#ffffff"}
    looks = [call("plot/theme", "style", {"kind": "bhf", "variant": i}, theme) for i in range(18)]
    assert len({(look["colour"], look["dash"]) for look in looks}) == 18
    assert [look["colour"] for look in looks[::6]] == ["#00825f", "#0b5c4c", "#66b49f"]
