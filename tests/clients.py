"""One client with the calls of users and of workers, for tests that take both parts."""

from backend.client import Client, WorkerClient


class BothClient(Client, WorkerClient):
    """Launches runs and reports them."""
