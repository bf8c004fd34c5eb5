"""Examples for the description of the API, built from the schema classes so that they are valid."""

from datetime import UTC, datetime
from typing import Any

from backend.schemas.api import (
    Announcement,
    Append,
    BlockPlan,
    CatalogAnswer,
    Claim,
    ExperimentChange,
    Finish,
    Heartbeat,
    KeptRuns,
    Plan,
    PresetBody,
    Registration,
    RunPlan,
    RunStates,
    Start,
    Sweep,
    Worker,
)
from backend.schemas.base import Contract
from backend.schemas.catalog import Catalog, DataSet, Layer, ProblemInfo, WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.measures import BlockStats, StopReason, Update
from backend.schemas.optimizers import Adam, BlockHessianFree
from backend.schemas.paper import (
    Answer,
    ClaimResult,
    Evidence,
    PaperView,
    PlotlyFigure,
    Reproduction,
    Reproductions,
    Study,
    Verdict,
)
from backend.schemas.runs import Experiment, Preset, Run, RunStatus, Summary

_RUN_ID, _EXPERIMENT_ID, _WORKER_ID = "3x8kq0v5m2a7c9d1", "7fq2zt40hs9b1n6e", "w5p0d8r3y6u2k4j7"
_THEN = datetime(2026, 1, 15, 12, tzinfo=UTC)
_BLOCKS = [["encoder.hidden", "encoder.code"], ["decoder.hidden", "decoder.output"]]
_WIDTHS = {"encoder.hidden": ("inputs", "hidden"), "encoder.code": ("hidden", "code")} | {
    "decoder.hidden": ("code", "hidden"),
    "decoder.output": ("hidden", "inputs"),
}
_SIZES = {"encoder.hidden": 392_500, "encoder.code": 15_030, "decoder.hidden": 15_500, "decoder.output": 392_784}


def _json(record: Contract) -> Any:
    return record.model_dump(mode="json")


_SPEC = ExperimentSpec(name="Adam against block-diagonal HF", optimizers=[Adam(), BlockHessianFree()], seeds=[0])
_CATALOG = Catalog(
    problems=[
        ProblemInfo(
            name="autoencoder",
            title="Autoencoder",
            summary="Squeezes an image into a code and reproduces it.",
            options={
                "type": "object",
                "properties": {
                    "hidden": {"type": "integer", "default": 500, "minimum": 1, "maximum": 4096},
                    "code": {"type": "integer", "default": 30, "minimum": 1, "maximum": 4096},
                },
            },
            layers=[Layer(name=name, parameters={"weight": [o, i], "bias": [o]}) for name, (i, o) in _WIDTHS.items()],
            partition=_BLOCKS,
            data=["mnist-5k"],
            accuracy=False,
            loss_unit="squared error, sum over the pixels, mean over the images",
            preset=_SPEC,
        )
    ],
    data=[
        DataSet(
            name="mnist-5k",
            title="5,000 MNIST digits",
            train_size=4000,
            test_size=1000,
            shape=[1, 28, 28],
            classes=10,
            embedded=True,
        )
    ],
)
_INFO = WorkerInfo(name="lab-1", device="cpu", threads=8, versions={"python": "3.11", "torch": "2.13"})
_RUN = Run(
    id=_RUN_ID,
    experiment_id=_EXPERIMENT_ID,
    experiment_name=_SPEC.name,
    config=_SPEC.runs()[1],
    status=RunStatus.RUNNING,
    claims=1,
    created_at=_THEN,
    started_at=_THEN,
    worker_id=_WORKER_ID,
    environment={"device": "cpu", "threads": "8"},
    blocks=_BLOCKS,
    parameters=sum(_SIZES.values()),
    summary=Summary(
        updates=1, epoch=0.25, seconds=0.8, cost=18.5, last_train_loss=61.2, best_train_loss=61.2, last_test_loss=60.9
    ),
)
_UPDATE = Update(
    update=1,
    epoch=0.25,
    samples=1000,
    seconds=0.8,
    cost=18.5,
    batch_loss=103.9,
    train_loss=61.2,
    test_loss=60.9,
    gradient_norm=14.1,
    step_norm=2.3,
    cpu_seconds=1.6,
    gradient_seconds=0.05,
    curvature_seconds=0.7,
    evaluation_seconds=0.02,
    blocks=[
        BlockStats(
            cg_iterations=30, stop_reason=StopReason.ITERATIONS, residual=0.4, model_decrease=35.0, step_norm=1.9
        ),
        BlockStats(
            cg_iterations=30, stop_reason=StopReason.ITERATIONS, residual=0.7, model_decrease=28.0, step_norm=1.3
        ),
    ],
)
_PLAN = Plan(
    runs=[
        RunPlan(label="Adam, seed 0", blocks=[]),
        RunPlan(
            label="BHF, 2 blocks, seed 0",
            blocks=[BlockPlan(layers=block, parameters=sum(_SIZES[name] for name in block)) for block in _BLOCKS],
        ),
    ],
    total=sum(_SIZES.values()),
)
_SEEN = Worker(id=_WORKER_ID, info=_INFO, registered_at=_THEN, seen_at=_THEN, alive=True, silent=False, run_id=_RUN_ID)

SPEC = _json(_SPEC)
PLAN = _json(_PLAN)
RUN = _json(_RUN)
_EXPERIMENT = Experiment(id=_EXPERIMENT_ID, name=_SPEC.name, created_at=_THEN, spec=_SPEC, runs=[_RUN], tags=["paper"])
EXPERIMENT = _json(_EXPERIMENT)
CHANGE = _json(ExperimentChange(name="Damping 0.1", note="Figure 2 of the draft.", tags=["paper", "damped"]))
DELETED = _json(_EXPERIMENT.model_copy(update={"deleted_at": _THEN}))
PRESET = _json(Preset(slug="two-blocks", title="Two blocks", spec=_SPEC, saved_at=_THEN))
PRESET_BODY = _json(PresetBody(title="Two blocks", spec=_SPEC))
CATALOG = _json(CatalogAnswer(catalog=_CATALOG, workers=[_SEEN]))
ANNOUNCEMENT = _json(Announcement(info=_INFO, catalog=_CATALOG))
REGISTRATION = _json(Registration(worker_id=_WORKER_ID, lease_seconds=30, heartbeat_seconds=2))
KEPT_RUNS = _json(KeptRuns(runs=[_RUN_ID]))
RUN_STATES = _json(RunStates(runs={_RUN_ID: RunStatus.PAUSED}))
CLAIM = _json(Claim(run=_RUN, claim_number=1))
HEARTBEAT = _json(Heartbeat(claim_number=1))
START = _json(Start(claim_number=1, environment=_RUN.environment, blocks=_BLOCKS, parameters=sum(_SIZES.values())))
APPEND = _json(Append(claim_number=1, rows=[_UPDATE]))
FINISH = _json(Finish(claim_number=1, status=RunStatus.FINISHED, ended_by="updates"))
SERIES = {
    "runs": {
        _RUN_ID: {
            "status": "running",
            "row_generation": 1,
            "last_update": 1,
            "update": [1],
            "seconds": [0.8],
            "train_loss": [61.2],
        }
    }
}
SWEEP = _json(Sweep(base=_SPEC, grid={"bhf.damping": [0.0, 0.1], "bhf.max_cg_iterations": [10, 30]}))
IMPORT = {"spec": _json(ExperimentSpec(name="elsewhere", optimizers=[Adam()])), "csv": "update,train_loss\n1,61.2\n"}
METRICS = 'blockhf_rows_total 1200.0\nblockhf_runs{status="queued"} 3.0\n'
EXPORT = {"run": RUN, "columns": {"update": [1], "seconds": [0.8], "train_loss": [61.2]}}
CSV = "update,epoch,samples,seconds,cost,batch_loss,train_loss\n1,0.25,1000,0.8,18.5,103.9,61.2\n"

_FIGURE = PlotlyFigure(data=[{"x": [1, 2], "y": [61.2, 55.0], "name": "Adam, batch 100"}], layout={"height": 300})
_FINDING = ClaimResult(
    number=1,
    claim="BHF is better than HF.",
    rule="Reproduced: at the end, for every seed.",
    verdict=Verdict.REPRODUCED,
    text="BHF ends 3.1 % below HF.",
    evidence=[Evidence(what="BHF's end above HF's", middle=-3.1, low=-4.0, high=-2.2, n=3, unit="%")],
)
PAPER_VIEW = _json(
    PaperView(
        title="Paper: Deep autoencoder on MNIST (laptop)", spec=_SPEC, total=2, ended=2, recorded=True,
        made_with={"torch": "2.13"}, findings=[_FINDING], figure=_FIGURE,
    )
)  # fmt: skip
REPRODUCTIONS = _json(
    Reproductions(
        reproductions=[
            Reproduction(
                kind="paper", subject="autoencoder", scale="laptop", title="Deep autoencoder on MNIST", spec=_SPEC,
                recorded=True,
            )
        ]
    )
)  # fmt: skip
STUDY = _json(
    Study(
        answers=[
            Answer(
                question="damping", title="How much damping?", text="The train loss ends at 11.2 with 0.1.",
                advice="Choose 0.1: it ends lowest.", recorded=True, ended=6, total=6, figure=_FIGURE,
            )
        ]
    )
)  # fmt: skip
