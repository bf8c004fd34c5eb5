"""MLflow's tracking server beside ours: in a virtual environment of its own, on loopback, over SQLite."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.processes import free_port

MEASURES = (
    "epoch", "samples", "seconds", "cost", "batch_loss", "train_loss", "test_loss", "gradient_norm", "step_norm",
    "loss_decrease",
)  # fmt: skip
"""What a row has here: MLflow takes at most 1,000 values per request, so 10 for 100 rows; ours have 18, and blocks."""

CACHE = Path(tempfile.gettempdir()) / "blockhf-mlflow"
START_SECONDS = 180.0
_API = "/api/2.0/mlflow"


def installed(folder: Path) -> Path:
    """Return the program, installing it at first use into a virtual environment in this folder."""
    program = folder / "bin" / "mlflow"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = str(folder / "bin" / "pip")
        subprocess.run(
            [pip, "install", "--disable-pip-version-check", "-q", "mlflow"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return program


class MLflow:
    """A running server and one client of it, over its REST interface."""

    def __init__(self, program: Path, home: Path) -> None:
        self.file = home / "mlflow.db"
        self._url = f"http://127.0.0.1:{free_port()}"
        self.version = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        store = ["--backend-store-uri", f"sqlite:///{self.file}", "--artifacts-destination", str(home / "artifacts")]
        where = ["--host", "127.0.0.1", "--port", self._url.rpartition(":")[2], "--workers", "1"]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        with (home / "mlflow.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "server", *store, *where], cwd=home, env=environment, stdout=log, stderr=log
            )
        self.http = httpx.Client(base_url=self._url, timeout=120, trust_env=False)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (home / "mlflow.log").read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Send a request; return the answer's JSON."""
        return self.http.request(method, _API + path, **request).raise_for_status().json()

    def run(self) -> str:
        """Make a run; return its id."""
        body = {"experiment_id": "0", "start_time": 1_700_000_000_000}
        return str(self.call("POST", "/runs/create", json=body)["run"]["info"]["run_id"])

    def log(self, run: str, first: int, last: int) -> None:
        """Report rows by one log-batch."""
        metrics = [
            {"key": key, "value": value(n, key), "timestamp": 1_700_000_000_000 + n, "step": n}
            for n in range(first, last + 1)
            for key in MEASURES
        ]
        self.call("POST", "/runs/log-batch", json={"run_id": run, "metrics": metrics})

    def fill(self, run: str, rows: int) -> None:
        """Put rows into the database below the server: only reading them is measured."""
        values = [
            (key, value(n, key), 1_700_000_000_000 + n, run, n, 0) for n in range(1, rows + 1) for key in MEASURES
        ]
        names = "key, value, timestamp, run_uuid, step, is_nan"
        with closing(sqlite3.connect(self.file, timeout=60)) as connection, connection:
            connection.executemany(f"INSERT INTO metrics ({names}) VALUES (?, ?, ?, ?, ?, ?)", values)

    def read(self, runs: Sequence[str], keys: Sequence[str] = MEASURES) -> int:
        """Read the whole history of each measure of each run; return the number of values."""
        found = 0
        for run in runs:
            for key in keys:
                query = {"run_id": run, "metric_key": key, "max_results": 25_000}
                found += len(self.call("GET", "/metrics/get-history", params=query)["metrics"])
        return found

    def memory(self) -> float:
        """Return the memory of the server and its children [MiB]."""
        server = psutil.Process(self._process.pid)
        return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)]) / 2**20

    def stop(self) -> None:
        """End the server and its children."""
        self.http.close()
        server = psutil.Process(self._process.pid)
        family = [*server.children(recursive=True), server]
        for process in family:
            process.terminate()
        for process in psutil.wait_procs(family, timeout=20)[1]:
            process.kill()


def value(n: int, key: str) -> float:
    """Make a value; each run's rows are alike."""
    return n * 1.0 if key in {"epoch", "samples", "seconds", "cost"} else 100.0 / n


@contextmanager
def mlflow(home: Path, cache: Path = CACHE) -> Iterator[MLflow]:
    """Run a server over a folder until the block ends."""
    server = MLflow(installed(cache), home)
    try:
        yield server
    finally:
        server.stop()
