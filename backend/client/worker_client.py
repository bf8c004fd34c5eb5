"""The client for workers: register, claim a run, report it, finish it."""

from collections.abc import Sequence

from backend.client.transport import Transport, batches
from backend.schemas.api import (
    Announcement,
    Append,
    Appended,
    Claim,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    KeptRuns,
    Registration,
    RunStates,
    Start,
)
from backend.schemas.base import MAX_HELD
from backend.schemas.catalog import Catalog, WorkerInfo
from backend.schemas.measures import Update
from backend.schemas.runs import Checkpoint, RunError, RunStatus


class WorkerClient(Transport):
    """A client of one backend with the requests of a worker. Every request about a run repeats the claim number."""

    def register(self, info: WorkerInfo, catalog: Catalog) -> Registration:
        """Register a worker with its problems and data sets."""
        body = Announcement(info=info, catalog=catalog)
        return Registration.model_validate_json(self._post("/workers", body, retry=True))

    def claim(self, worker_id: str) -> Claim | None:
        """Claim the next run that this worker can train; None if there is none."""
        answer = self._post(f"/workers/{worker_id}/claim", None, retry=False)
        return Claim.model_validate_json(answer) if answer else None

    def worker_heartbeat(self, worker_id: str) -> None:
        """Report that an idle worker is alive."""
        self._post(f"/workers/{worker_id}/heartbeat", None, retry=True)

    def heartbeat(self, run_id: str, claim_number: int) -> HeartbeatAnswer:
        """Renew the lease; return whether the user wants the run cancelled or paused."""
        answer = self._post(f"/runs/{run_id}/heartbeat", Heartbeat(claim_number=claim_number), retry=True)
        return HeartbeatAnswer.model_validate_json(answer)

    def run_states(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        """Return the states of any number of runs; runs that no longer exist are omitted."""
        found: dict[str, RunStatus] = {}
        for i in range(0, len(run_ids), MAX_HELD):
            answer = self._post("/workers/runs", KeptRuns(runs=list(run_ids[i : i + MAX_HELD])), retry=True)
            found |= RunStates.model_validate_json(answer).runs
        return found

    def start(
        self,
        run_id: str,
        claim_number: int,
        *,
        environment: dict[str, str],
        blocks: list[list[str]],
        parameters: int,
        resumed_from: int = 0,
        note: str = "",
    ) -> None:
        """Report the run before its first update; rows after `resumed_from` are deleted.

        Args:
            run_id: the run.
            claim_number: of the claim.
            environment: device, threads and versions.
            blocks: the layers of each block.
            parameters: number of trainable parameters.
            resumed_from: the update after which the run continues.
            note: why it restarted, or may differ from an uninterrupted run.
        """
        body = Start(
            claim_number=claim_number, environment=environment, blocks=blocks, parameters=parameters,
            resumed_from=resumed_from, note=note,
        )  # fmt: skip
        self._post(f"/runs/{run_id}/start", body, retry=True)

    def append(
        self, run_id: str, claim_number: int, rows: Sequence[Update], *, checkpoint: Checkpoint | None = None
    ) -> int:
        """Store the next updates, any number, and record a checkpoint; return the last stored update."""
        last = 0
        parts = list(batches(rows))
        for batch in parts:
            named = checkpoint if batch is parts[-1] else None
            answer = self._post(
                f"/runs/{run_id}/updates", Append(claim_number=claim_number, rows=batch, checkpoint=named), retry=True
            )
            last = Appended.model_validate_json(answer).last_update
        return last

    def finish(
        self,
        run_id: str,
        claim_number: int,
        status: RunStatus | str,
        *,
        ended_by: str = "",
        error: RunError | None = None,
        weights: str | None = None,
    ) -> None:
        """Finish a run: finished (with the SHA-256 of its weights), failed (with an error), cancelled or paused."""
        body = {
            "claim_number": claim_number,
            "status": RunStatus(status),
            "ended_by": ended_by,
            "error": error,
            "weights": weights,
        }
        self.finish_as(run_id, Finish.model_validate(body))

    def finish_as(self, run_id: str, body: Finish) -> None:
        """Finish a run with a prepared request body."""
        self._post(f"/runs/{run_id}/finish", body, retry=True)
