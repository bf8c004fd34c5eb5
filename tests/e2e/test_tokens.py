"""Three real processes behind a token: they work, a browser never needs it, and nobody writes it down."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.errors import Unauthorized
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from tests.clients import BothClient
from tests.processes import DEADLINE, Processes, wait_until

TOKEN = "a-token-that-is-long-enough"


def test_a_token_guards_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker, dashboard and command line use BLOCKHF_TOKEN; without it nothing is read or launched."""
    monkeypatch.setenv("BLOCKHF_TOKEN", TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        Processes(tmp_path, "backend", "dashboard") as service,
        BothClient(service.backend_url, headers=headers) as client,
        httpx.Client(base_url=service.dashboard_url, trust_env=False) as browser,
    ):
        with pytest.raises(Unauthorized):
            service.client.catalog()
        service.start("worker")
        wait_until(lambda: client.catalog().catalog, f"a worker has registered: {service.log('worker')}")
        made = client.launch(ExperimentSpec.model_validate(SPEC))
        (run,) = client.wait([made.runs[0].id], timeout=DEADLINE)
        assert (run.status, run.summary.updates) == (RunStatus.FINISHED, 2)

        read = browser.get("/api/v1/series", params={"runs": run.id})
        assert read.json()["runs"][run.id]["update"] == [1, 2]
        assert TOKEN not in str(read.headers) + read.text
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert browser.request(method, f"/api/v1/runs/{run.id}/cancel").status_code == 405

        monkeypatch.setenv("BLOCKHF_BACKEND_URL", service.backend_url)
        listed = subprocess.run([sys.executable, "-m", "backend.cli.main", "runs"], capture_output=True, text=True)
        assert run.id in listed.stdout, listed.stderr
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


SPEC = {
    "optimizers": [Adam(gradient_batch=50)],
    "problem": {
        "train_size": 200, "test_size": 50,
        "options": {"hidden_1": 20, "hidden_2": 10, "hidden_3": 5, "code": 3},
    },
    "evaluation": {"train_subset": 50},
    "budget": {"updates": 2},
}  # fmt: skip
