"""The API as Python, for dashboard, worker, command line and scripts."""

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from pydantic import ValidationError

from backend import histories
from backend.errors import BackendUnavailable, BlockHFError, TooManyRequests, from_validation
from backend.schemas import (
    CatalogAnswer,
    Contract,
    Experiment,
    ExperimentChange,
    ExperimentList,
    ExperimentSpec,
    ExportKind,
    Import,
    ImportPiece,
    PaperView,
    Plan,
    Preset,
    PresetBody,
    PresetList,
    Priority,
    Reproductions,
    Run,
    RunList,
    RunStatus,
    Study,
    Sweep,
    TagList,
)
from backend.schemas.exchange import SweepValue
from backend.worker_calls import WorkerCalls

if TYPE_CHECKING:
    import pandas

_POLL_SECONDS = 0.5


class Client(WorkerCalls):
    """One backend. What is safe to repeat is repeated when the connection breaks; `http` replaces the transport.

    Where the backend asks for a token, `headers` carry it: `Client(settings.api, headers=settings.authorization)`.
    Raises the tree of `backend.errors`: InvalidInput with its `errors`, NotFound, LeaseLost, BackendUnavailable.
    A Client may be shared between threads. What workers ask for stands in `WorkerCalls`.
    """

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

    def sweep(
        self,
        base: ExperimentSpec,
        *,
        grid: Mapping[str, Sequence[SweepValue]] | None = None,
        points: Sequence[Mapping[str, SweepValue]] = (),
        idempotency_key: str | None = None,
    ) -> Experiment:
        """Queue a comparison whose optimizers take each combination of `grid`, such as {"bhf.damping": [0, 0.1]}."""
        body = _made(Sweep, base=base, grid=grid or {}, points=list(points))
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        return Experiment.model_validate_json(self._post("/sweeps", body, retry=True, headers=headers))

    def experiments(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        tag: str | None = None,
        archived: bool = False,
        deleted: bool = False,
    ) -> list[Experiment]:
        """Return experiments, newest first, older than `before`, with a tag; archived, deleted ones where asked."""
        query = {"limit": limit, "before": before, "tag": tag, "archived": archived or None, "deleted": deleted or None}
        return ExperimentList.model_validate_json(self._get("/experiments", **query)).experiments

    def experiment(self, experiment_id: str) -> Experiment:
        """Return one experiment with its runs."""
        return Experiment.model_validate_json(self._get(f"/experiments/{experiment_id}"))

    def tags(self) -> list[str]:
        """Return every tag in use, in alphabetical order."""
        return TagList.model_validate_json(self._get("/experiments/tags")).tags

    def edit(
        self,
        experiment_id: str,
        *,
        name: str | None = None,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        archived: bool | None = None,
    ) -> Experiment:
        """Change an experiment's name, note, tags or archive; None leaves what is there."""
        given = {"name": name, "note": note, "tags": None if tags is None else list(tags), "archived": archived}
        body = _made(ExperimentChange, **{field: value for field, value in given.items() if value is not None})
        return Experiment.model_validate_json(self._change("PATCH", f"/experiments/{experiment_id}", body))

    def delete(self, experiment_id: str) -> Experiment:
        """Mark an experiment as deleted; its runs that have not ended are cancelled. `restore` takes it back."""
        return Experiment.model_validate_json(self._change("DELETE", f"/experiments/{experiment_id}"))

    def restore(self, experiment_id: str) -> Experiment:
        """Take a deletion back; runs that it cancelled can be tried again."""
        return Experiment.model_validate_json(self._post(f"/experiments/{experiment_id}/restore", None, retry=True))

    def presets(self) -> list[Preset]:
        """Return the saved presets, in the order of their titles."""
        return PresetList.model_validate_json(self._get("/presets")).presets

    def preset(self, slug: str) -> Preset:
        """Return one preset."""
        return Preset.model_validate_json(self._get(f"/presets/{slug}"))

    def save_preset(self, slug: str, title: str, spec: ExperimentSpec) -> Preset:
        """Save settings under a name, in place of those that had it before."""
        body = _made(PresetBody, title=title, spec=spec)
        return Preset.model_validate_json(self._change("PUT", f"/presets/{slug}", body))

    def delete_preset(self, slug: str) -> None:
        """Delete a preset."""
        self._change("DELETE", f"/presets/{slug}")

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
        until: Sequence[int] | None = None,
        bucket: int = 1,
        fields: Sequence[str] | None = None,
        blocks: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Return each run's columns after its update `after`, up to `until`, thinned to buckets of 2^k updates."""
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
        """Return every row of a run as a file of this kind; `pandas.read_parquet` reads the last."""
        return self._get_large(f"/runs/{run_id}/export.{ExportKind(kind).value}")

    def export(self, run_id: str) -> str:
        """Return every row of a run as CSV, with a header."""
        return self._get_large(f"/runs/{run_id}/export.csv").decode()

    def reproductions(self) -> Reproductions:
        """Return what reproduces the paper's figures, and the study's sweeps: experiments whose `spec` you launch."""
        return Reproductions.model_validate_json(self._get("/paper"))

    def paper(self, experiment_id: str, *, axis: str = "update", mode: str = "light") -> PaperView:
        """Return an experiment's figure as the paper draws it, and a verdict for each of the paper's claims."""
        return PaperView.model_validate_json(self._get(f"/experiments/{experiment_id}/paper", axis=axis, mode=mode))

    def recorded_paper(self, problem: str, *, axis: str = "update", mode: str = "light") -> PaperView:
        """Return the same of the runs that ship with BlockHF; raises NotFound where there are none."""
        return PaperView.model_validate_json(self._get(f"/paper/{problem}", axis=axis, mode=mode))

    def study(self, *, mode: str = "light") -> Study:
        """Return what to choose, and why: each question of the study with its sweep's figure."""
        return Study.model_validate_json(self._get("/study", mode=mode))

    def weights(self, run_id: str) -> bytes:
        """Return a finished run's final weights, which `safetensors.torch.load` reads."""
        return self._get_large(f"/runs/{run_id}/weights.safetensors")

    def checkpoint(self, run_id: str) -> bytes:
        """Return the state that a run which has not finished would go on from, as safetensors."""
        return self._get_large(f"/runs/{run_id}/checkpoint.safetensors")

    def import_run(self, spec: ExperimentSpec, csv: str) -> Run:
        """Store a history that was made elsewhere, from CSV as `export` gives it; a repeat stores it again.

        A long one travels in pieces, after all of it was checked; where the backend is lost on the way, the run stays
        behind with `ended_by` import-unfinished.
        """
        first, *others = histories.pieces(csv)
        if others:
            deque(histories.rows(csv), maxlen=0)
        body = _made(Import, spec=spec, csv=first, more=bool(others))
        run = Run.model_validate_json(self._post("/imports", body, retry=False))
        for left, piece in zip(reversed(range(len(others))), others, strict=True):
            body = _made(ImportPiece, csv=piece, more=left > 0)
            run = Run.model_validate_json(self._post(f"/imports/{run.id}", body, retry=True))
        return run

    def series_frame(self, runs: Sequence[str], *, bucket: int = 1) -> "pandas.DataFrame":
        """Return all rows of the runs as one pandas frame, with the run's id in the column `run`."""
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
        """Yield a run's id and its new columns, as `series` gives them, until all runs have ended.

        A backend that goes away meanwhile is waited for, five minutes at most: then BackendUnavailable is raised. It
        begins with the rows that are stored; where `attempt` changes, the run began again: drop what you hold.
        """
        return self._follow(Event(), runs, experiment)

    def _follow(
        self, over: Event, runs: Sequence[str] | None, experiment: str | None
    ) -> Generator[tuple[str, dict[str, Any]], None, None]:
        chosen = None if runs is None else ",".join(runs)
        for _, data in self._events(over, runs=chosen, experiment=experiment):
            yield from data["runs"].items()

    def wait(self, run_ids: Sequence[str], *, timeout: float) -> list[Run]:
        """Wait until every run has ended; raise TimeoutError after `timeout` seconds.

        A backend that goes away meanwhile is waited for, five minutes at most: then BackendUnavailable is raised.
        """
        deadline = time.monotonic() + timeout
        waiting, patience = list(run_ids), self._patience()
        while True:
            away: BlockHFError | None = None
            pause = _POLL_SECONDS
            try:
                runs = [self.run(run_id) for run_id in run_ids]
                waiting, patience = [run.id for run in runs if not run.status.final], self._patience()
                if not waiting:
                    return runs
            except (BackendUnavailable, TooManyRequests) as error:
                if (longer := patience.pause()) is None:
                    raise
                away, pause = error, longer
            left = deadline - time.monotonic()
            if left <= 0:
                reason = f" ({away})" if away else ""
                raise TimeoutError(f"after {timeout:g} s these runs have not ended: {', '.join(waiting)}{reason}")
            time.sleep(min(pause, left))

    def _ask(self, run_id: str, verb: str, body: Contract | None = None) -> Run:
        return Run.model_validate_json(self._post(f"/runs/{run_id}/{verb}", body, retry=True))


def _made(kind: type[Contract], **fields: Any) -> Contract:
    """Make a request's body, or raise what the backend would."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error) from None
