"""The API as Python, for dashboard, worker, command line and scripts."""

from collections.abc import Mapping, Sequence

from backend.client import argument_checks
from backend.client.run_calls import RunCalls
from backend.formats import history_csv
from backend.schemas.api import (
    CatalogAnswer,
    ExperimentChange,
    ExperimentList,
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
    """One backend. What is safe to repeat is repeated when the connection breaks; `http` replaces the transport.

    Where the backend asks for a token, `headers` carry it; `Client.of(settings)` takes address and token from there.
    Raises the tree of `backend.errors`: InvalidInput with its `errors`, NotFound, LeaseLost, BackendUnavailable.
    A Client may be shared between threads. Calls about runs stand in `RunCalls`, those of workers in `WorkerCalls`.
    """

    def catalog(self) -> CatalogAnswer:
        """Return what can be launched, and the workers."""
        return CatalogAnswer.model_validate_json(self._get("/catalog"))

    def check(self, spec: ExperimentSpec) -> Plan:
        """Return what a launch would queue, or raise what it would raise."""
        return Plan.model_validate_json(self._post("/experiments/check", spec, retry=True))

    def launch(self, spec: ExperimentSpec, *, idempotency_key: str | None = None) -> Experiment:
        """Queue every run of a comparison; the same key (1 to 200 visible ASCII characters) never queues it twice."""
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
        """Queue a comparison whose optimizers take each combination of `grid`, such as {"bhf.damping": [0, 0.1]}."""
        body = argument_checks.validated(Sweep, base=base, grid=grid or {}, points=list(points))
        headers = argument_checks.idempotency_header(idempotency_key)
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
        return Experiment.model_validate_json(self._get(f"/experiments/{argument_checks.experiment_id(experiment_id)}"))

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
        body = argument_checks.validated(
            ExperimentChange, **{field: value for field, value in given.items() if value is not None}
        )
        return Experiment.model_validate_json(
            self._change("PATCH", f"/experiments/{argument_checks.experiment_id(experiment_id)}", body)
        )

    def delete(self, experiment_id: str) -> Experiment:
        """Mark an experiment as deleted; its runs that have not ended are cancelled. `restore` takes it back."""
        path = f"/experiments/{argument_checks.experiment_id(experiment_id)}"
        return Experiment.model_validate_json(self._change("DELETE", path))

    def restore(self, experiment_id: str) -> Experiment:
        """Take a deletion back; runs that it cancelled can be tried again."""
        path = f"/experiments/{argument_checks.experiment_id(experiment_id)}/restore"
        return Experiment.model_validate_json(self._post(path, None, retry=True))

    def presets(self) -> list[Preset]:
        """Return the saved presets, in the order of their titles."""
        return PresetList.model_validate_json(self._get("/presets")).presets

    def preset(self, slug: str) -> Preset:
        """Return one preset."""
        return Preset.model_validate_json(self._get(f"/presets/{argument_checks.slug(slug)}"))

    def save_preset(self, slug: str, title: str, spec: ExperimentSpec) -> Preset:
        """Save settings under a name, in place of those that had it before."""
        body = argument_checks.validated(PresetBody, title=title, spec=spec)
        return Preset.model_validate_json(self._change("PUT", f"/presets/{argument_checks.slug(slug)}", body))

    def delete_preset(self, slug: str) -> None:
        """Delete a preset."""
        self._change("DELETE", f"/presets/{argument_checks.slug(slug)}")

    def reproductions(self) -> Reproductions:
        """Return what reproduces the paper's figures, and the study's sweeps: experiments whose `spec` you launch."""
        return Reproductions.model_validate_json(self._get("/paper"))

    def paper(self, experiment_id: str, *, axis: str = "update", mode: str = "light") -> PaperView:
        """Return an experiment's figure as the paper draws it, and a verdict for each of the paper's claims."""
        path = f"/experiments/{argument_checks.experiment_id(experiment_id)}/paper"
        return PaperView.model_validate_json(self._get(path, axis=axis, mode=mode))

    def recorded_paper(self, problem: str, *, axis: str = "update", mode: str = "light") -> PaperView:
        """Return the same of the runs that ship with BlockHF; raises NotFound where there are none."""
        return PaperView.model_validate_json(
            self._get(f"/paper/{argument_checks.slug(problem, 'problem')}", axis=axis, mode=mode)
        )

    def study(self, *, mode: str = "light") -> Study:
        """Return what to choose, and why: each question of the study with its sweep's figure."""
        return Study.model_validate_json(self._get("/study", mode=mode))

    def import_run(self, spec: ExperimentSpec, csv: str) -> Run:
        """Store a history that was made elsewhere, from CSV as `export` returns it; a repeat stores it again.

        All rows are stored, or none.
        """
        history_csv.check_one_run(spec)
        body = argument_checks.validated(Import, spec=spec, csv=csv)
        return Run.model_validate_json(self._post("/imports", body, retry=False, timeout=self._long_timeout()))
