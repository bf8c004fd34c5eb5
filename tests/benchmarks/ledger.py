"""A worker of our own that reports rows as fast as they are taken, and keeps the book of what was acknowledged."""

import threading
from random import Random

from backend.errors import BackendUnavailable, BlockHFError
from backend.schemas.catalog import Catalog
from backend.schemas.optimizers import Adam
from tests.backend.samples import INFO, catalog, checkpoint, spec, updates
from tests.clients import BothClient
from worker.delivery.reporter import retry_until_reachable

_PAUSE = 0.02


class Ledger:
    """Has one run that no other worker can train, and writes it from a thread.

    Attributes:
        acknowledged: the last update that the backend said it had stored.
        error: what the backend answered, where that was neither an acknowledgement nor an absence.
    """

    def __init__(self, client: BothClient, url: str, random: Random) -> None:
        self.acknowledged = 0
        self.error: BlockHFError | None = None
        self._client = client
        self._writing = BothClient(url)
        self._random = random
        self._over = threading.Event()
        known = catalog(name="ledger", data=["ledger"])
        data = [known.data[0].model_copy(update={"name": "ledger"})]
        worker = client.register(INFO, Catalog(problems=known.problems, data=data)).worker_id
        problem = {"name": "ledger", "data": "ledger"}
        budget = {"updates": 1_000_000}
        (run,) = client.launch(spec(problem=problem, optimizers=[Adam(gradient_batch=10)], budget=budget)).runs
        claim = client.claim(worker)
        assert claim is not None
        assert claim.run.id == run.id
        self.run_id, self._token = run.id, claim.claim_number
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Compare what is stored with the book: all that was acknowledged, each once, nothing that was not written."""
        assert self.error is None, self.error
        before = self.acknowledged
        found = self._rows(after=max(0, before - 5000))
        assert found[: min(before, 5000)] == list(range(max(0, before - 5000) + 1, before + 1)), "a row is lost"
        assert found == list(range(found[0], found[0] + len(found))) if found else before == 0

    def close(self) -> int:
        """End the writing; check every row; return how many were acknowledged."""
        self._over.set()
        self._thread.join()
        self._writing.close()
        assert self.error is None, self.error
        found, above = [], 0
        while part := self._rows(after=above):
            found += part
            above = part[-1]
        assert found == list(range(1, len(found) + 1)), "a row is lost or doubled"
        assert self.acknowledged <= len(found) <= self.acknowledged + 100
        return self.acknowledged

    def _rows(self, *, after: int) -> list[int]:
        answer = retry_until_reachable(lambda: self._client.series([self.run_id], after=[after], fields=["samples"]))
        columns = answer[self.run_id]
        numbers: list[int] = columns["update"]
        assert columns["samples"] == [10 * n for n in numbers], "a row is not what was written"
        return numbers

    def _write(self) -> None:
        while not self._over.is_set():
            last = self.acknowledged + self._random.randint(1, 100)
            rows = updates(self.acknowledged + 1, last)
            named = checkpoint(last) if self._random.random() < 0.2 else None
            try:
                self.acknowledged = self._writing.append(self.run_id, self._token, rows, checkpoint=named)
            except BackendUnavailable:
                pass
            except BlockHFError as error:
                self.error = error
                return
            self._over.wait(_PAUSE)
