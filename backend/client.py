"""The API as Python, for dashboard, worker, command line and scripts."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
import orjson

from backend.errors import BackendUnavailable, BlockHFError, FieldError, InvalidInput
from backend.schemas import (
    STEPS_PER_BATCH,
    Announcement,
    Append,
    Appended,
    Catalog,
    CatalogAnswer,
    Checkpoint,
    Claim,
    Contract,
    Experiment,
    ExperimentList,
    ExperimentSpec,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    Plan,
    Priority,
    Registration,
    Run,
    RunError,
    RunList,
    RunStatus,
    Start,
    Update,
    WorkerInfo,
)

_RETRIES = 3
_FIRST_PAUSE = 0.1
_BATCH_BYTES = 400_000
_POLL_SECONDS = 0.5


class Client:
    """One backend. What is safe to repeat is repeated when the connection breaks; `http` replaces the transport.

    Where the backend asks for a token, `headers` carry it: `Client(settings.api, headers=settings.authorization)`.
    Raises the tree of `backend.errors`: InvalidInput with its `errors`, NotFound, LeaseLost, BackendUnavailable.
    A Client may be shared between threads.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8700",
        *,
        headers: Mapping[str, str] | None = None,
        http: httpx.Client | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._http = http or httpx.Client(base_url=base_url, headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # For users.

    def health(self) -> bool:
        """Tell whether the backend answers and its database can be read."""
        try:
            return self._send("GET", "/ready", retry=False).status_code == 200
        except BlockHFError:
            return False

    def catalog(self) -> CatalogAnswer:
        """Return what can be launched, and the workers."""
        return CatalogAnswer.model_validate_json(self._get("/catalog"))

    def check(self, spec: ExperimentSpec) -> Plan:
        """Return what a launch would queue, or raise what it would raise."""
        return Plan.model_validate_json(self._post("/experiments/check", spec, retry=True))

    def launch(self, spec: ExperimentSpec, *, idempotency_key: str | None = None) -> Experiment:
        """Queue every run of a comparison; the same key never queues it twice."""
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        return Experiment.model_validate_json(self._post("/experiments", spec, retry=True, headers=headers))

    def experiments(self, *, limit: int = 50, before: str | None = None) -> list[Experiment]:
        """Return experiments, newest first, older than the experiment `before`."""
        return ExperimentList.model_validate_json(self._get("/experiments", limit=limit, before=before)).experiments

    def experiment(self, experiment_id: str) -> Experiment:
        """Return one experiment with its runs."""
        return Experiment.model_validate_json(self._get(f"/experiments/{experiment_id}"))

    def runs(
        self,
        *,
        experiment: str | None = None,
        status: RunStatus | str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """Return runs, newest first, older than the run `before`."""
        state = None if status is None else str(status)
        answer = self._get("/runs", experiment=experiment, status=state, limit=limit, before=before)
        return RunList.model_validate_json(answer).runs

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return Run.model_validate_json(self._get(f"/runs/{run_id}"))

    def cancel(self, run_id: str) -> Run:
        """Cancel a run: at once while it waits, within seconds while it trains."""
        return self._ask(run_id, "cancel")

    def pause(self, run_id: str) -> Run:
        """Pause a run: at once while it waits, after its update while it trains."""
        return self._ask(run_id, "pause")

    def resume(self, run_id: str) -> Run:
        """Let a paused run go on."""
        return self._ask(run_id, "resume")

    def retry(self, run_id: str) -> Run:
        """Queue a run again that failed or was cancelled; it goes on from its last checkpoint."""
        return self._ask(run_id, "retry")

    def prioritize(self, run_id: str, priority: int) -> Run:
        """Move a run in line; the highest priority goes first."""
        return self._ask(run_id, "priority", Priority(priority=priority))

    def series(
        self,
        runs: Sequence[str],
        *,
        after: Sequence[int] | None = None,
        bucket: int = 1,
        fields: Sequence[str] | None = None,
        blocks: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Return each run's columns after its update `after`, thinned to buckets of 2^k updates."""
        if not runs:
            return {}
        query = {
            "runs": ",".join(runs),
            "after": None if after is None else ",".join(map(str, after)),
            "bucket": bucket,
            "fields": None if fields is None else ",".join(fields),
            "blocks": int(blocks),
        }
        answer: dict[str, dict[str, Any]] = orjson.loads(self._get("/series", **query))["runs"]
        return answer

    def export(self, run_id: str) -> str:
        """Return every row of a run as CSV, with a header."""
        return self._get(f"/runs/{run_id}/export.csv").decode()

    def wait(self, run_ids: Sequence[str], *, timeout: float) -> list[Run]:
        """Wait until every run has ended; raise TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            runs = [self.run(run_id) for run_id in run_ids]
            waiting = [run.id for run in runs if not run.status.final]
            if not waiting:
                return runs
            if time.monotonic() >= deadline:
                raise TimeoutError(f"after {timeout:g} s these runs have not ended: {', '.join(waiting)}")
            time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))

    # For workers.

    def register(self, info: WorkerInfo, catalog: Catalog) -> Registration:
        """Announce a worker and what it can do."""
        body = Announcement(info=info, catalog=catalog)
        return Registration.model_validate_json(self._post("/workers", body, retry=True))

    def claim(self, worker_id: str) -> Claim | None:
        """Take the next run that this worker can train; None when there is none."""
        answer = self._post(f"/workers/{worker_id}/claim", None, retry=False)
        return Claim.model_validate_json(answer) if answer else None

    def worker_heartbeat(self, worker_id: str) -> None:
        """Say that an idle worker is alive."""
        self._post(f"/workers/{worker_id}/heartbeat", None, retry=True)

    def heartbeat(self, run_id: str, token: int) -> HeartbeatAnswer:
        """Renew the lease; return what the user wants of the run."""
        answer = self._post(f"/runs/{run_id}/heartbeat", Heartbeat(token=token), retry=True)
        return HeartbeatAnswer.model_validate_json(answer)

    def start(
        self,
        run_id: str,
        token: int,
        *,
        environment: dict[str, str],
        blocks: list[list[str]],
        parameters: int,
        resumed_from: int = 0,
        note: str = "",
    ) -> None:
        """Report what the run is made of, before its first update; the rows after `resumed_from` are dropped."""
        body = Start(
            token=token, environment=environment, blocks=blocks, parameters=parameters, resumed_from=resumed_from,
            note=note,
        )  # fmt: skip
        self._post(f"/runs/{run_id}/start", body, retry=True)

    def append(self, run_id: str, token: int, rows: Sequence[Update], *, checkpoint: Checkpoint | None = None) -> int:
        """Store the next updates, however many, and name a checkpoint of theirs; return the last update stored."""
        last = 0
        batches = list(_batches(rows))
        for batch in batches:
            named = checkpoint if batch is batches[-1] else None
            answer = self._post(
                f"/runs/{run_id}/updates", Append(token=token, rows=batch, checkpoint=named), retry=True
            )
            last = Appended.model_validate_json(answer).last_update
        return last

    def finish(
        self,
        run_id: str,
        token: int,
        status: RunStatus | str,
        *,
        ended_by: str = "",
        error: RunError | None = None,
        weights: str | None = None,
    ) -> None:
        """End a run: finished (with the SHA-256 of its weights), failed (with an error) or cancelled; or pause it."""
        body = Finish.model_validate(
            {"token": token, "status": RunStatus(status), "ended_by": ended_by, "error": error, "weights": weights}
        )
        self._post(f"/runs/{run_id}/finish", body, retry=True)

    # How requests travel.

    def _get(self, path: str, **query: Any) -> bytes:
        known = {name: value for name, value in query.items() if value is not None}
        return self._send("GET", path, retry=True, params=known).content

    def _ask(self, run_id: str, verb: str, body: Contract | None = None) -> Run:
        return Run.model_validate_json(self._post(f"/runs/{run_id}/{verb}", body, retry=True))

    def _post(self, path: str, body: Contract | None, *, retry: bool, headers: dict[str, str] | None = None) -> bytes:
        content = b"" if body is None else body.model_dump_json().encode()
        sent = {"Content-Type": "application/json"} | (headers or {})
        return self._send("POST", path, retry=retry, content=content, headers=sent).content

    def _send(self, method: str, path: str, *, retry: bool, **request: Any) -> httpx.Response:
        def once() -> httpx.Response:
            return self._http.request(method, f"/api/v1{path}", **request)

        try:
            response = _repeat(once) if retry else once()
        except httpx.TransportError as error:
            raise BackendUnavailable(
                f"no answer from {self._http.base_url}: {error or type(error).__name__}"
            ) from error
        if response.is_error:
            raise _error(response)
        return response


def _repeat(once: Callable[[], httpx.Response]) -> httpx.Response:
    """Call again, with growing pauses, when the connection breaks; not when the answer is slow."""
    for attempt in range(_RETRIES):
        try:
            return once()
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            time.sleep(_FIRST_PAUSE * 3**attempt)
    return once()


def _error(response: httpx.Response) -> BlockHFError:
    """Turn problem details back into the exception they were made of."""
    try:
        problem = orjson.loads(response.content)
        code, title = str(problem["type"]).removeprefix("urn:blockhf:"), str(problem["title"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        unavailable = response.status_code in {502, 503, 504}
        return (BackendUnavailable if unavailable else BlockHFError)(f"the backend answered {response.status_code}")
    if code == InvalidInput.code:
        return InvalidInput([FieldError(**row) for row in problem.get("errors", [])])
    kinds = {kind.code: kind for kind in _tree(BlockHFError)}
    return kinds.get(code, BlockHFError)(title)


def _tree(kind: type[BlockHFError]) -> Iterator[type[BlockHFError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _batches(rows: Sequence[Update]) -> Iterator[list[Update]]:
    """Cut rows into batches that the backend's limits on rows and bytes let pass."""
    batch: list[Update] = []
    size = 0
    for row in rows:
        room = 300 + 130 * len(row.blocks)
        if batch and (len(batch) == STEPS_PER_BATCH or size + room > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += room
    yield batch
