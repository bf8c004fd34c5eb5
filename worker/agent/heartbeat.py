"""Renews a run's lease while it executes."""

import logging
import threading

from backend.client import WorkerClient
from backend.errors import LeaseLost, NotFound
from backend.schemas.api import Claim, Registration

log = logging.getLogger(__name__)


class Heartbeat:
    """Sends heartbeats from a thread; the answers report whether the run was cancelled, paused or lost.

    Attributes:
        cancelled: the user asked to cancel the run.
        paused: the user asked to pause the run.
        lost: another worker has the run, or it has ended.
    """

    def __init__(self, client: WorkerClient, claim: Claim, registration: Registration) -> None:
        self.cancelled = threading.Event()
        self.paused = threading.Event()
        self.lost = threading.Event()
        self._client = client
        self._claim = claim
        self._seconds = registration.heartbeat_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(timeout=1)  # a request to an unreachable backend may take longer, and no longer matters

    def _send_all(self) -> None:
        while not self._ended.wait(self._seconds) and not self.lost.is_set():
            try:
                answer = self._client.heartbeat(self._claim.run.id, self._claim.claim_number)
                if answer.cancel:
                    self.cancelled.set()
                if answer.pause:
                    self.paused.set()
            except (LeaseLost, NotFound):
                self.lost.set()
            except Exception as error:  # the next one may succeed
                log.warning("run %s: heartbeat failed: %s", self._claim.run.id, error)
