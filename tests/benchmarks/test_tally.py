"""Tests of what is kept between the parts of a fault loop."""

from pathlib import Path

import pytest

from tests.benchmarks import faults
from tests.benchmarks.tally import Tally


def test_parts_add_up_over_calls(tmp_path: Path) -> None:
    """Counts, and what was wrong, are those of all parts, also of an earlier process's."""
    file = tmp_path / "record.json"
    first = Tally(file)
    assert (first.struck("workers"), first.parts("workers"), first.wrong()) == (0, 0, [])
    first.add("workers", {"faults": {"worker": 3, "child": 2}, "runs": {"adam": 2}, "wrong": []})
    second = Tally(file)
    second.add("workers", {"faults": {"worker": 4}, "runs": {"adam": 1}, "wrong": []})
    second.add("workers", {"wrong": ["a row is lost"]})
    second.put("timings", {"limit": 2})
    found = Tally(file)
    assert (found.struck("workers"), found.parts("workers")) == (9, 3)
    assert found.loops["workers"] == {
        "faults": {"worker": 7, "child": 2}, "runs": {"adam": 3}, "wrong": ["a row is lost"], "parts": 3,
    }  # fmt: skip
    assert found.loops["timings"] == {"limit": 2}
    assert found.wrong() == ["workers: a row is lost"]


def test_a_loop_goes_on_where_it_was_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call adds the parts that are missing, each with a seed of its own, and none where there are enough."""
    asked: list[tuple[int, int]] = []

    def part(*_: object, kills: int, seed: int, **__: object) -> dict[str, object]:
        asked.append((kills, seed))
        return {"faults": {"worker": kills}}

    monkeypatch.setattr(faults, "loop", part)
    record = str(tmp_path / "record.json")
    for kills, fresh in (("20", [(20, 0)]), ("50", [(20, 1), (10, 2)]), ("50", [])):
        monkeypatch.setattr("sys.argv", ["faults", "--loops", "workers", "--kills", kills, "--record", record])
        asked.clear()
        with pytest.raises(SystemExit) as ended:
            faults.main()
        assert (asked, ended.value.code) == (fresh, 0)
    assert "workers          {'faults': {'worker': 50}" in capsys.readouterr().out


def test_what_is_wrong_ends_a_loop_and_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other loops go on; the fault is told with its seed, and the exit code is 1."""

    def part(_: Path, kinds: list[str], *, kills: int, **__: object) -> dict[str, object]:
        assert kinds != ["backend"], "a row is lost"
        return {"faults": {kinds[0]: kills}}

    monkeypatch.setattr(faults, "loop", part)
    monkeypatch.setattr("sys.argv", ["faults", "--loops", "backend,zombies", "--kills", "5"])
    with pytest.raises(SystemExit) as ended:
        faults.main()
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert "WRONG backend: seed 0: AssertionError: a row is lost" in told.err
    assert "zombies          {'faults': {'zombie': 5}" in told.out
