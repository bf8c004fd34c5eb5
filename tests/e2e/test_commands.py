"""The command line against real processes: launch, watch, list, export, cancel, and what it says of bad input."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.schemas.runs import RunStatus
from tests.processes import DEADLINE, Processes, wait_until

SMALL = [
    "--set", "problem.train_size=200", "--set", "problem.test_size=50", "--set", "evaluation.train_subset=50",
    "--set", "problem.options={hidden_1: 20, hidden_2: 10, hidden_3: 5, code: 3}",
]  # fmt: skip
BHF = "bhf gradient_batch=50 curvature_batch=20 max_cg_iterations=3"


def blockhf(service: Processes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    environment = os.environ | {"BLOCKHF_BACKEND_URL": service.backend_url, "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", "backend.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def test_launch_watch_list_export(service: Processes, tmp_path: Path) -> None:
    """A comparison launched with flags is watched to its end, listed as JSON and exported as complete CSV files."""
    launched = blockhf(
        service, "launch", "-o", "adam gradient_batch=50", "-o", BHF, "--seed", "0", "--seed", "1",
        "--set", "budget.updates=4", "--name", "from a terminal", *SMALL, "--json", "--watch",
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr
    answer = json.loads(launched.stdout)
    assert len(answer["runs"]) == 4
    assert launched.stderr.count("finished") >= 4

    rows = json.loads(blockhf(service, "runs", "--experiment", answer["id"], "--json").stdout)
    assert {row["id"] for row in rows} == set(answer["runs"])
    assert {(row["optimizer"], row["seed"], row["status"], row["updates"]) for row in rows} == {
        (kind, seed, "finished", 4) for kind in ("adam", "bhf") for seed in (0, 1)
    }
    assert all(row["best"]["train_loss"] <= row["last"]["train_loss"] for row in rows)

    exported = blockhf(service, "export", answer["id"], "--to", str(tmp_path / "curves"))
    assert exported.returncode == 0, exported.stderr
    for run in answer["runs"]:
        with (tmp_path / "curves" / f"{run}.csv").open() as file:
            updates = [row["update"] for row in csv.DictReader(file)]
        assert updates == ["1", "2", "3", "4"]


def test_launch_from_a_file(service: Processes, tmp_path: Path) -> None:
    """A YAML file is an experiment; flags change it; a dry run queues nothing and shows the blocks."""
    file = tmp_path / "comparison.yaml"
    file.write_text("name: from a file\noptimizers: [{kind: bhf, partition: {kind: layers}}]\nbudget: {updates: 2}\n")
    before = len(service.client.experiments())
    plan = json.loads(blockhf(service, "launch", str(file), "--dry-run").stdout)
    assert [len(run["blocks"]) for run in plan["runs"]] == [8]
    assert len(service.client.experiments()) == before


def test_cancel(service: Processes) -> None:
    """All runs of an experiment end as cancelled, the queued at once and the running within seconds."""
    launched = blockhf(
        service, "launch", "-o", "adam gradient_batch=2", "-o", BHF, "--set", "budget.updates=100000", *SMALL, "--json"
    )
    experiment = json.loads(launched.stdout)["id"]
    wait_until(lambda: service.client.experiment(experiment).runs[0].summary.updates > 0, "the first run trains")
    assert blockhf(service, "cancel", experiment).returncode == 0
    wait_until(
        lambda: all(run.status is RunStatus.CANCELLED for run in service.client.experiment(experiment).runs),
        "both runs are cancelled",
        seconds=20,
    )


def test_pause_resume_retry_prioritize(service: Processes) -> None:
    """A run is paused, goes on, is cancelled, tried again and moved in line; what a verb is not for is left alone."""
    launched = blockhf(
        service, "launch", "-o", "adam gradient_batch=2", "--set", "budget.updates=100000", *SMALL, "--json"
    )
    (run,) = json.loads(launched.stdout)["runs"]
    wait_until(lambda: service.client.run(run).summary.updates > 0, "the run trains")
    assert blockhf(service, "retry", run).stdout == ""
    assert blockhf(service, "pause", run).returncode == 0
    wait_until(lambda: service.client.run(run).status is RunStatus.PAUSED, "the run is paused")
    assert blockhf(service, "resume", run).stdout == f"{run} queued\n"
    assert blockhf(service, "prioritize", run, "--to", "7").returncode == 0
    assert service.client.run(run).priority == 7
    assert blockhf(service, "cancel", run).returncode == 0
    wait_until(lambda: service.client.run(run).status is RunStatus.CANCELLED, "the run is cancelled")
    (retried,) = json.loads(blockhf(service, "retry", run, "--json").stdout)
    assert (retried["id"], retried["status"]) == (run, "queued")
    assert json.loads(blockhf(service, "resume", run, "--json").stdout) == []
    assert blockhf(service, "cancel", run).returncode == 0
    wait_until(lambda: service.client.run(run).status is RunStatus.CANCELLED, "the run is cancelled again")
    (watched,) = json.loads(blockhf(service, "watch", run, "--json").stdout)
    assert (watched["id"], watched["status"]) == (run, "cancelled")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "bhf curvature_batch=1000"], "optimizers.0.curvature_batch is 1000: must be smaller"),
        (["-o", "hf damping=.nan"], "optimizers.0.damping is 'nan'"),
        (["-o", "rprop"], "must be one of adam, hf, bhf"),
        (["-s", "problem.options={code: 1000000000}"], "problem.options.code is 1000000000"),
        (["-s", "learning_rate=1"], "learning_rate is 1"),
        (["-o", "bhf partition={kind: explicit,blocks: [[nowhere]]}"], "partition.blocks.0.0 is 'nowhere'"),
        (["no-such-file.yaml"], "no-such-file.yaml"),
    ],
)  # fmt: skip
def test_bad_input_names_field_and_value(service: Processes, arguments: list[str], words: str) -> None:
    """Each mistake is a line that names what is wrong; the exit code is 1 and nothing is queued."""
    before = len(service.client.experiments())
    done = blockhf(service, "launch", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(service.client.experiments()) == before


def test_an_unknown_id_is_one_line(service: Processes) -> None:
    """An id that is nobody's is said in one line."""
    for name in ("zzzzzzzzzzzz", "../../etc"):
        done = blockhf(service, "cancel", name)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_no_backend_is_one_line() -> None:
    """Where no backend answers, the command says so in one line."""
    environment = os.environ | {"BLOCKHF_BACKEND_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "backend.cli.main", "runs"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_settings_have_units(service: Processes) -> None:
    """`blockhf settings` lists every setting with its unit."""
    text = " ".join(blockhf(service, "settings").stdout.split())
    for word in ("damping", "max_cg_iterations", "budget.seconds", "polyak_decay", "loss per weight squared"):
        assert word in text
