"""What the browser is told to compare, and how it compares."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from backend.client import Client
from backend.schemas.runs import Run
from dashboard.pages import queue, reproduction_parts, run
from dashboard.ui.auto_refresh import WatchedQuery
from dashboard.ui.theme import STATIC
from tests.dashboard.samples import SPEC

NODE = shutil.which("node")


def same(body: object, read: WatchedQuery, tmp_path: Path) -> bool:
    """Ask the browser's script whether an answer says what the page shows."""
    if NODE is None:
        pytest.skip("no node (package nodejs) on PATH")
    shutil.copytree(STATIC, tmp_path, dirs_exist_ok=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    arguments = f"{json.dumps(body)}, {json.dumps(read.data())}"
    code = f"import {{ same }} from './panels/auto_refresh.js'; console.log(same({arguments}));"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    return {"true": True, "false": False}[done.stdout.strip()]


@pytest.mark.parametrize("fields", [queue.RUN_FIELDS, run.RUN_FIELDS, reproduction_parts.RUN_FIELDS])
def test_the_answer_that_the_page_was_drawn_from_is_no_change(
    api: Client, tmp_path: Path, fields: tuple[str, ...]
) -> None:
    """Server and browser write the same rows alike, whatever is in a name; another state of a run is a change."""
    one = api.launch(SPEC.model_copy(update={"name": 'caf\u00e9 "quoted" \U0001f4a5 <b>'}))
    seen = one.runs
    read = WatchedQuery("/api/v1/runs", "runs", fields, seen)
    body = {"runs": [run.model_dump(mode="json") for run in seen]}
    assert same(body, read, tmp_path)
    api.cancel(seen[1].id)
    later = [api.run(run.id) for run in seen]
    assert not same({"runs": [run.model_dump(mode="json") for run in later]}, read, tmp_path)


def test_an_answer_can_be_the_row(api: Client, tmp_path: Path) -> None:
    """Where no list is named, the answer itself is what is compared, and its other fields do not count."""
    one: Run = api.launch(SPEC).runs[0]
    read = WatchedQuery(f"/api/v1/runs/{one.id}", "", ("id", "status"), [one])
    assert same(one.model_dump(mode="json") | {"summary": {"updates": 3}}, read, tmp_path)
    assert not same(one.model_dump(mode="json") | {"status": "running"}, read, tmp_path)
