"""Optimizers that installed packages add are everywhere without any other edit."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.client import Client
from backend.schemas.runs import Run, RunStatus
from tests.processes import DEADLINE, Processes
from tests.worker.cases import CLASSIFIER

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests/examples"
POINTS = """[blockhf.optimizers]
sign = tests.examples.sign_sgd.settings:SignSgd
torch = tests.examples.torch_optim.settings:TorchOptim
adahessian = tests.examples.ada_hessian.settings:AdaHessian
broken = tests.examples.broken:Settings
adam = tests.examples.sign_sgd.settings:SignSgd
[blockhf.optimizer_factories]
sign = tests.examples.sign_sgd.factory:make
torch = tests.examples.torch_optim.factory:make
adahessian = tests.examples.ada_hessian.factory:make
adam = tests.examples.sign_sgd.factory:make
[blockhf.problems]
classifier = tests.worker.problems.plugin:CLASSIFIER
"""
CHOICES = ["sign momentum=0.5", "torch name=Muon", "torch name=LBFGS arguments=max_iter=3", "adahessian", "adam"]
FORM = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_string("from dashboard.pages import launch\\nlaunch.page()\\n", default_timeout=200).run()
assert not page.exception, page.exception
for title in ("Sign SGD", "torch.optim", "AdaHessian"):
    next(button for button in page.button if button.label == title).click().run()
    assert not page.exception, page.exception
print([field.label for field in page.text_input])
"""
LIVE = """
import json
from dashboard.ui.live_curves import optimizer_records
print(json.dumps(optimizer_records()))
"""


def run(*arguments: str, code: int = 0) -> str:
    """Run Python with the packages installed; return its output."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr if code else done.stdout


def launch(*optimizers: str, code: int = 0) -> str:
    """Launch a comparison from a terminal; return the output."""
    problem = [f"--set=problem.{key}={value}" for key, value in CLASSIFIER.model_dump(exclude={"options"}).items()]
    chosen = [part for optimizer in optimizers for part in ("--optimizer", f"{optimizer} gradient_batch=30")]
    short = ["--set=budget.updates=5", "--set=evaluation.train_subset=50", "--json"]
    return run("-m", "backend.cli.main", "launch", *chosen, *problem, *short, code=code)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Install the packages as pip leaves them, and start a backend and a worker."""
    folder = tmp_path_factory.mktemp("optimizers")
    package = folder / "site" / "optimizers-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: optimizers\nVersion: 1\n")
    (package / "entry_points.txt").write_text(POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(ROOT)]))
        with Processes(folder / "home", "backend", "worker", HEARTBEAT_SECONDS=0.2) as processes:
            patch.setenv("BLOCKHF_BACKEND_URL", processes.backend_url)
            yield processes


@pytest.fixture(scope="module")
def answers(started: Processes) -> list[dict[str, Any]]:
    """Launch one run of each from a terminal; return the runs as the API answers once they have ended."""
    ids = json.loads(launch(*CHOICES))["runs"]
    urls = [f"{started.backend_url}/api/v1/runs/{run_id}" for run_id in ids]

    def read() -> list[dict[str, Any]]:
        return [httpx.get(url, timeout=DEADLINE).json() for url in urls]

    started.wait_until(lambda: all(answer["final"] for answer in read()), "the runs have ended")
    return read()


def test_each_trains_in_a_real_worker(answers: list[dict[str, Any]]) -> None:
    """A rule of one's own, torch's optimizers with and without a closure, and one of second order."""
    assert [(answer["status"], answer["error"]) for answer in answers] == [("finished", None)] * len(CHOICES)
    sign = {"kind": "sign", "learning_rate": 0.01, "gradient_batch": 30, "momentum": 0.5}
    assert answers[0]["config"]["optimizer"] == sign
    assert [answer["summary"]["updates"] for answer in answers] == [5] * len(CHOICES)
    costs = [answer["summary"]["cost"] for answer in answers]
    assert costs[0] == costs[1] == 5  # one gradient per update
    assert 5 < costs[2] <= 20  # LBFGS evaluates as often as it needs
    assert costs[3] == 15  # a product with the Hessian costs two gradients


def test_what_torch_refuses_is_refused_at_the_launch(started: Processes) -> None:
    """A name or an argument that torch does not have is refused before anything is queued, with torch's reason."""
    before = len(started.client.runs())
    arguments = ["foo=1", "lr=1", "momentum=-1", "momentum=", "0.9", "momentum=open('x')", "momentum=0.9); g(a=1"]
    wrong = [{"name": name} for name in ("Nope", "SparseAdam", "Optimizer", "lr_scheduler", "__dict__")]
    for one in wrong + [{"arguments": text} for text in arguments]:
        body = {"problem": CLASSIFIER.model_dump(), "optimizers": [{"kind": "torch"} | one]}
        answer = httpx.post(f"{started.backend_url}/api/v1/experiments", json=body, timeout=DEADLINE)
        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (
            422, ["optimizers.0.arguments"],
        )  # fmt: skip
    assert len(started.client.runs()) == before


def test_a_package_that_fails_hurts_no_other(started: Processes) -> None:
    """It is named in each log, and in the error of a launch; a built-in optimizer cannot be replaced."""
    for name in ("backend", "worker"):
        assert "skipped the optimizer broken (tests.examples.broken:Settings)" in started.log(name)
        assert "skipped the optimizer adam" in started.log(name)
    assert "ModuleNotFoundError" in launch("broken", code=1)
    body = {"optimizers": [{"kind": "broken"}]}
    refused = httpx.post(f"{started.backend_url}/api/v1/experiments/check", json=body, timeout=DEADLINE)
    assert refused.status_code == 422
    assert "tests.examples.broken" in refused.text


def test_a_reader_without_the_packages_sees_the_runs(answers: list[dict[str, Any]], started: Processes) -> None:
    """Where a package is not installed, its runs are listed with their settings, and cannot be launched again."""
    with Client(started.backend_url) as client:
        [experiment] = client.experiments()
    kinds = [one.config.optimizer.kind for one in experiment.runs]
    assert kinds == ["sign", "torch", "torch", "adahessian", "adam"]
    assert Run.model_validate(answers[0]).status is RunStatus.FINISHED
    assert Run.model_validate(answers[0]).config.optimizer.model_dump()["momentum"] == 0.5
    assert experiment.spec.to_launch() is None


def test_they_are_in_form_charts_help_and_api(started: Processes) -> None:
    """No list of optimizers is written elsewhere."""
    document = httpx.get(f"{started.backend_url}/api/v1/openapi.json", timeout=DEADLINE).json()
    assert {"SignSgd", "TorchOptim", "AdaHessian"} <= document["components"]["schemas"].keys()
    assert {"Momentum", "Arguments", "Hessian power"} <= set(ast.literal_eval(run("-c", FORM)))
    live = json.loads(run("-c", LIVE))
    assert (live["names"]["sign"], live["colours"]["dark"]["sign"]) == ("Sign SGD", "#bbbbbb")
    assert "sign" not in live["solvers"]
    assert "arguments =" in run("-m", "backend.cli.main", "settings", "torch")


@pytest.mark.parametrize("name", ["torch_optim", "ada_hessian"])
def test_the_examples_are_short(name: str) -> None:
    """A file that a user has to write is under 40 lines of code."""
    for path in (EXAMPLES / name).glob("*.py"):
        tree = ast.parse(path.read_text())
        texts = {
            line
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        code = [line for number, line in enumerate(path.read_text().splitlines(), 1) if line and number not in texts]
        assert len(code) < 40, path
