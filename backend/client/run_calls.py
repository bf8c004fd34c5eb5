"""The client's methods for runs: list, cancel, pause, follow, download."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from backend.client import argument_checks
from backend.client.transport import Transport
from backend.errors import BackendUnavailable, FieldError, InvalidInput
from backend.schemas.api import ExportKind, Priority, RunList
from backend.schemas.base import Contract
from backend.schemas.runs import Experiment, Run, RunStatus

if TYPE_CHECKING:
    import pandas

_POLL_SECONDS = 0.5


class _Cursor(NamedTuple):
    """How far a run has been read."""

    row_generation: int
    update: int
    status: str


class RunCalls(Transport):
    """The methods for runs."""

    def runs(
        self,
        *,
        experiment: str | None = None,
        status: RunStatus | str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[Run]:
        """Return at most `limit` runs, newest first: of an experiment, with a status, older than the run `before`."""
        state = None if status is None else str(status)
        answer = self._get("/runs", experiment=experiment, status=state, limit=limit, before=before)
        return RunList.model_validate_json(answer).runs

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return Run.model_validate_json(self._get(f"/runs/{argument_checks.run_id(run_id)}"))

    def cancel(self, run_id: str) -> Run:
        """Cancel a run: immediately if it is queued, within seconds if it is running."""
        return self._ask(run_id, "cancel")

    def pause(self, run_id: str) -> Run:
        """Pause a run: immediately if it is queued, after its current update if it is running."""
        return self._ask(run_id, "pause")

    def resume(self, run_id: str) -> Run:
        """Continue a paused run."""
        return self._ask(run_id, "resume")

    def retry(self, run_id: str) -> Run:
        """Queue a failed or cancelled run again; it continues from its last checkpoint."""
        return self._ask(run_id, "retry")

    def prioritize(self, run_id: str, priority: int) -> Run:
        """Set a run's priority; the highest goes first."""
        return self._ask(run_id, "priority", argument_checks.validated(Priority, priority=priority))

    def series(
        self,
        runs: Sequence[str],
        *,
        after: Sequence[int] | None = None,
        until: Sequence[int] | None = None,
        bucket: int = 1,
        fields: Sequence[str] | None = None,
        blocks: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Return the columns of each run, by its id.

        Args:
            runs: the runs' ids.
            after: for each run, return the updates after this one.
            until: for each run, the last update to return.
            bucket: updates per point, a power of 2.
            fields: the columns; None: all.
            blocks: include the measures of each block (only with bucket 1).
        """
        if not runs:
            return {}
        query = {
            "runs": ",".join(runs),
            "after": None if after is None else ",".join(map(str, after)),
            "until": None if until is None else ",".join(map(str, until)),
            "bucket": bucket,
            "fields": None if fields is None else ",".join(fields),
            "blocks": int(blocks),
        }
        answer: dict[str, dict[str, Any]] = orjson.loads(self._get_large("/series", **query))["runs"]
        return answer

    def export_file(self, run_id: str, kind: ExportKind | str) -> bytes:
        """Return all rows of a run as a file in this format."""
        return self._get_large(
            f"/runs/{argument_checks.run_id(run_id)}/export.{argument_checks.export_kind(kind).value}"
        )

    def export(self, run_id: str) -> str:
        """Return all rows of a run as CSV with a header."""
        return self._get_large(f"/runs/{argument_checks.run_id(run_id)}/export.csv").decode()

    def weights(self, run_id: str) -> bytes:
        """Return the final weights of a finished run, for `safetensors.torch.load`."""
        return self._get_large(f"/runs/{argument_checks.run_id(run_id)}/weights.safetensors")

    def checkpoint(self, run_id: str) -> bytes:
        """Return the last checkpoint of an unfinished run, as safetensors."""
        return self._get_large(f"/runs/{argument_checks.run_id(run_id)}/checkpoint.safetensors")

    def series_frame(self, runs: Sequence[str], *, bucket: int = 1) -> "pandas.DataFrame":
        """Return all rows of the runs as one pandas data frame, with the run's id in the column `run`."""
        import pandas

        answer, after = self.series(runs, bucket=bucket), dict.fromkeys(runs, 0)
        parts: list[pandas.DataFrame] = []
        while answer:
            for run_id, columns in answer.items():
                values = {name: column for name, column in columns.items() if isinstance(column, list)}
                parts += [pandas.DataFrame({"run": run_id} | values)] if columns["update"] else []
                after[run_id] = columns["update"][-1] if columns["update"] else columns["last_update"]
            left = [run_id for run_id, columns in answer.items() if after[run_id] < columns["last_update"]]
            answer = self.series(left, after=[after[run_id] for run_id in left], bucket=bucket)
        return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame({"run": []})

    def follow(
        self, runs: Sequence[str] | None = None, *, experiment: str | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield a run's id and its new columns, as `series` returns them, until all runs have ended.

        The first columns contain the rows stored so far. If `row_generation` changes, the run was rolled back: drop
        its earlier columns. If the backend is unreachable, this retries for 5 minutes.

        Args:
            runs: the runs' ids.
            experiment: follow the runs of this experiment instead.

        Raises:
            InvalidInput: give either runs or experiment.
            NotFound: a run or the experiment does not exist.
            BackendUnavailable: the backend was unreachable for too long.
        """
        if (runs is None) == (experiment is None):
            raise InvalidInput([FieldError("runs", runs, "give either runs or experiment")])
        if experiment is not None:
            path = f"/experiments/{argument_checks.experiment_id(experiment)}"
            found = Experiment.model_validate_json(self._retry_unreachable(partial(self._get, path)))
            runs = [run.id for run in found.runs]
        known = {run_id: _Cursor(0, 0, "") for run_id in runs or ()}
        while known:
            answer = self._after(known)
            for run_id, columns in answer.items():
                last = columns["update"][-1] if columns["update"] else min(known[run_id].update, columns["last_update"])
                cursor = _Cursor(columns["row_generation"], last, columns["status"])
                if cursor != known[run_id]:
                    known[run_id] = cursor
                    yield run_id, columns
            if all(known[run_id].update == columns["last_update"] for run_id, columns in answer.items()):
                if all(RunStatus(cursor.status).final for cursor in known.values()):
                    return
                time.sleep(_POLL_SECONDS)

    def _after(self, known: Mapping[str, "_Cursor"]) -> dict[str, dict[str, Any]]:
        """Return the new columns of each run: all rows if it was rolled back."""
        after = [cursor.update for cursor in known.values()]
        answer = self._retry_unreachable(partial(self.series, list(known), after=after))
        changed = [
            run_id for run_id, columns in answer.items() if columns["row_generation"] != known[run_id].row_generation
        ]
        rolled_back = [run_id for run_id in changed if known[run_id].update]
        return answer | self._retry_unreachable(partial(self.series, rolled_back))

    def wait(self, run_ids: Sequence[str], *, timeout: float) -> list[Run]:
        """Wait until every run has ended; if the backend is unreachable, retry for 5 minutes.

        Args:
            run_ids: the runs.
            timeout: how long to wait [s].

        Raises:
            TimeoutError: some runs have not ended in time.
            BackendUnavailable: the backend was unreachable for too long.
        """
        deadline = time.monotonic() + timeout
        waiting, reason = list(run_ids), ""
        while True:
            left = deadline - time.monotonic()
            try:
                runs = self._retry_unreachable(lambda: [self.run(run_id) for run_id in run_ids], max(0.0, left))
                waiting = [run.id for run in runs if not run.final]
                if not waiting:
                    return runs
            except BackendUnavailable as error:
                if time.monotonic() < deadline:
                    raise
                reason = f" ({error})"
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"after {timeout:g} s these runs have not ended: {', '.join(waiting)}{reason}")
            time.sleep(min(_POLL_SECONDS, left))

    def _ask(self, run_id: str, verb: str, body: Contract | None = None) -> Run:
        return Run.model_validate_json(self._post(f"/runs/{argument_checks.run_id(run_id)}/{verb}", body, retry=True))
