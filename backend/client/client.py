"""The client for scripts, the command line and the dashboard."""

from collections.abc import Mapping, Sequence

from backend.client import argument_checks
from backend.client.run_calls import RunCalls
from backend.formats import history_csv
from backend.schemas.api import (
    Access,
    CatalogAnswer,
    ExperimentChange,
    ExperimentList,
    ExperimentName,
    ExperimentNames,
    Import,
    Plan,
    PresetBody,
    PresetList,
    Sweep,
    SweepValue,
    TagList,
)
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.paper import PaperView, Reproductions, Study
from backend.schemas.runs import Experiment, Preset, Run


class Client(RunCalls):
    """A client of one backend, which several threads may share.

    `Client.of(settings)` uses the address and the token of the settings. Requests that are safe to repeat are retried
    when the connection breaks. Errors of the backend are raised as exceptions of `backend.errors`, such as NotFound,
    BackendUnavailable, or InvalidInput with its list `errors`. `RunCalls` has the methods for runs.
    """

    def catalog(self) -> CatalogAnswer:
        """Return what can be launched, and the workers."""
        return CatalogAnswer.model_validate_json(self._get("/catalog"))

    def access(self) -> Access:
        """Return what this client may do."""
        return Access.model_validate_json(self._get("/access"))

    def check(self, spec: ExperimentSpec) -> Plan:
        """Return what a launch would queue; raise the errors that it would raise."""
        return Plan.model_validate_json(self._post("/experiments/check", spec, retry=True))

    def launch(self, spec: ExperimentSpec, *, idempotency_key: str | None = None) -> Experiment:
        """Queue all runs of a comparison; launches with the same key (1 to 200 ASCII characters) are queued once."""
        headers = argument_checks.idempotency_header(idempotency_key)
        return Experiment.model_validate_json(self._post("/experiments", spec, retry=True, headers=headers))

    def sweep(
        self,
        base: ExperimentSpec,
        *,
        grid: Mapping[str, Sequence[SweepValue]] | None = None,
        points: Sequence[Mapping[str, SweepValue]] = (),
        idempotency_key: str | None = None,
    ) -> Experiment:
        """Queue a comparison with one optimizer per combination of settings.

        Args:
            base: the experiment whose optimizers are varied.
            grid: values by setting, such as {"bhf.damping": [0, 0.1]}; all combinations are queued.
            points: combinations to queue, each a value by setting.
            idempotency_key: calls with the same key are queued once.
        """
        body = argument_checks.validated(Sweep, base=base, grid=grid or {}, points=list(points))
        headers = argument_checks.idempotency_header(idempotency_key)
        return Experiment.model_validate_json(self._post("/sweeps", body, retry=True, headers=headers))

    def experiments(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        tag: str | None = None,
        search: str | None = None,
        archived: bool = False,
        deleted: bool = False,
    ) -> list[Experiment]:
        """Return experiments, newest first.

        Args:
            limit: maximum number.
            before: only experiments older than this one.
            tag: only experiments with this tag.
            search: only experiments whose name contains this text, in any case.
            archived: include archived experiments.
            deleted: include deleted experiments.
        """
        query = {"limit": limit, "before": before, "tag": tag, "search": search or None}
        state = {"archived": archived or None, "deleted": deleted or None}
        return ExperimentList.model_validate_json(self._get("/experiments", **query, **state)).experiments

    def experiment_names(
        self, *, limit: int = 50, tag: str | None = None, search: str | None = None, archived: bool = False
    ) -> list[ExperimentName]:
        """Return the names of the experiments that `experiments` returns, without their runs."""
        query = {"limit": limit, "tag": tag, "search": search or None, "archived": archived or None}
        return ExperimentNames.model_validate_json(self._get("/experiments/names", **query)).experiments

    def experiment(self, experiment_id: str) -> Experiment:
        """Return one experiment with its runs."""
        return Experiment.model_validate_json(self._get(f"/experiments/{argument_checks.experiment_id(experiment_id)}"))

    def tags(self) -> list[str]:
        """Return all tags in alphabetical order."""
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
        """Change an experiment's name, note, tags or archived state; None leaves a field unchanged."""
        given = {"name": name, "note": note, "tags": None if tags is None else list(tags), "archived": archived}
        body = argument_checks.validated(
            ExperimentChange, **{field: value for field, value in given.items() if value is not None}
        )
        return Experiment.model_validate_json(
            self._change("PATCH", f"/experiments/{argument_checks.experiment_id(experiment_id)}", body)
        )

    def delete(self, experiment_id: str) -> Experiment:
        """Delete an experiment and cancel its unfinished runs; `restore` undoes it."""
        path = f"/experiments/{argument_checks.experiment_id(experiment_id)}"
        return Experiment.model_validate_json(self._change("DELETE", path))

    def restore(self, experiment_id: str) -> Experiment:
        """Restore a deleted experiment; its cancelled runs can be retried."""
        path = f"/experiments/{argument_checks.experiment_id(experiment_id)}/restore"
        return Experiment.model_validate_json(self._post(path, None, retry=True))

    def presets(self) -> list[Preset]:
        """Return the saved presets, sorted by title."""
        return PresetList.model_validate_json(self._get("/presets")).presets

    def preset(self, slug: str) -> Preset:
        """Return one preset."""
        return Preset.model_validate_json(self._get(f"/presets/{argument_checks.slug(slug)}"))

    def save_preset(self, slug: str, title: str, spec: ExperimentSpec) -> Preset:
        """Save settings under a slug; replace an existing preset."""
        body = argument_checks.validated(PresetBody, title=title, spec=spec)
        return Preset.model_validate_json(self._change("PUT", f"/presets/{argument_checks.slug(slug)}", body))

    def delete_preset(self, slug: str) -> None:
        """Delete a preset."""
        self._change("DELETE", f"/presets/{argument_checks.slug(slug)}")

    def reproductions(self) -> Reproductions:
        """Return experiments that reproduce the paper's figures, and the sweeps of the study: launch their `spec`."""
        return Reproductions.model_validate_json(self._get("/paper"))

    def paper(self, experiment_id: str, *, axis: str = "update", mode: str = "light") -> PaperView:
        """Return an experiment's figure in the form of the paper, and the verdicts on the paper's claims."""
        path = f"/experiments/{argument_checks.experiment_id(experiment_id)}/paper"
        return PaperView.model_validate_json(self._get(path, axis=axis, mode=mode))

    def recorded_paper(self, problem: str, *, axis: str = "update", mode: str = "light") -> PaperView:
        """Return figure and verdicts of the recorded runs; raise NotFound if a problem has none."""
        return PaperView.model_validate_json(
            self._get(f"/paper/{argument_checks.slug(problem, 'problem')}", axis=axis, mode=mode)
        )

    def study(self, *, mode: str = "light") -> Study:
        """Return the study of settings: an answer and a figure for each question."""
        return Study.model_validate_json(self._get("/study", mode=mode))

    def import_run(self, spec: ExperimentSpec, csv: str) -> Run:
        """Store a history from elsewhere, as CSV in the format of `export`: all rows or none. Not idempotent."""
        history_csv.check_one_run(spec)
        body = argument_checks.validated(Import, spec=spec, csv=csv)
        return Run.model_validate_json(self._post("/imports", body, retry=False, timeout=self._long_timeout()))
