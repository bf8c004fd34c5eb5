"""A sixth optimizer, which an installed package adds, is everywhere without any other edit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import DEADLINE, Processes
from tests.worker.cases import CLASSIFIER

ROOT = Path(__file__).parents[2]
POINTS = """[blockhf.optimizers]
sign = tests.examples.sign_sgd.settings:SignSgd
[blockhf.optimizer_factories]
sign = tests.examples.sign_sgd.factory:make
[blockhf.problems]
classifier = tests.worker.problems.plugin:CLASSIFIER
"""
FORM = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_string("from dashboard.pages import launch\\nlaunch.page()\\n", default_timeout=200).run()
assert not page.exception, page.exception
next(button for button in page.button if button.label == "Sign SGD").click().run()
assert not page.exception, page.exception
print([field.label for field in page.text_input if ".sign" in field.key])
"""
LIVE = """
import json
from dashboard.ui.live_curves import optimizer_records
print(json.dumps(optimizer_records()))
"""


def run(*arguments: str) -> str:
    """Run Python with the package installed; return its output."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def own_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Install the package as pip leaves one, and start a backend and a worker."""
    package = tmp_path / "site" / "sign_sgd-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: sign-sgd\nVersion: 1\n")
    (package / "entry_points.txt").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(ROOT)]))
    with Processes(tmp_path / "home", "backend", "worker", HEARTBEAT_SECONDS=0.2) as started:
        monkeypatch.setenv("BLOCKHF_BACKEND_URL", started.backend_url)
        yield started


def test_a_sixth_optimizer_needs_no_other_edit(own_processes: Processes) -> None:
    """It is launched from a terminal, trains in a real worker, and is in the form, the API and the live curves."""
    problem = [f"--set=problem.{key}={value}" for key, value in CLASSIFIER.model_dump(exclude={"options"}).items()]
    launched = run(
        "-m", "backend.cli.main", "launch", "--optimizer", "sign momentum=0.5 gradient_batch=30", "--optimizer",
        "adam gradient_batch=30", *problem, "--set=budget.updates=5", "--set=evaluation.train_subset=50", "--json",
    )  # fmt: skip
    [first, _] = json.loads(launched)["runs"]

    def ended() -> bool:
        return bool(
            httpx.get(f"{own_processes.backend_url}/api/v1/runs/{first}", timeout=DEADLINE).json()["status"]
            == "finished"
        )

    own_processes.wait_until(ended, "the run has finished")
    sign = httpx.get(f"{own_processes.backend_url}/api/v1/runs/{first}").json()
    assert sign["config"]["optimizer"] == {"kind": "sign", "learning_rate": 0.01, "gradient_batch": 30, "momentum": 0.5}
    assert (sign["summary"]["updates"], sign["blocks"]) == (5, [])
    document = httpx.get(f"{own_processes.backend_url}/api/v1/openapi.json").json()
    assert "SignSgd" in document["components"]["schemas"]
    assert "Momentum" in run("-c", FORM)
    live = json.loads(run("-c", LIVE))
    assert (live["names"]["sign"], live["colours"]["dark"]["sign"]) == ("Sign SGD", "#bbbbbb")
    assert "sign" not in live["solvers"]
    assert "sign" in run("-m", "backend.cli.main", "launch", "--help")
