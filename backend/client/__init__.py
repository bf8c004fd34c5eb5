"""The Python client of the REST API: `Client` for scripts, `WorkerClient` for workers."""

from backend.client.client import Client
from backend.client.worker_client import WorkerClient

__all__ = ["Client", "WorkerClient"]
