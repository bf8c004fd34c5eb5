"""The notebook example does what it says, cell by cell, against real processes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Processes

NOTEBOOK = Path(__file__).parents[1] / "examples" / "compare.ipynb"


def test_the_notebook_runs(service: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every code cell runs in order; at its end stand the curves of six finished runs."""
    monkeypatch.setenv("BLOCKHF_BACKEND_URL", service.backend_url)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are not committed: they differ from machine to machine"
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert [run.status.value for run in names["runs"]] == ["finished"] * 6
    assert list(names["means"].columns) == ["adam", "bhf", "hf"]
    assert list(names["means"].index) == list(range(1, 21))
    assert (names["means"].iloc[-1] < names["means"].iloc[0]).all()
    assert len(names["figure"].data) == 3
    names["client"].close()
