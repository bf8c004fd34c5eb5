"""Experiments, runs and a catalog as the API would give them, for tests of what the pages make of them."""

from datetime import UTC, datetime

from backend.schemas.base import Contract as Options
from backend.schemas.base import setting
from backend.schemas.catalog import Catalog, DataSet, Layer, ProblemInfo
from backend.schemas.experiments import ExperimentSpec, Problem
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Experiment, Run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class WidthOptions(Options):
    """Options of the sample problem."""

    hidden: int = setting(10, "width of the hidden layer; empty: ten", unit="units", ge=1, le=4096, paper=1000)
    bias: bool = setting(True, "whether layers have a bias")


SPEC = ExperimentSpec(
    name="The sample's settings",
    problem=Problem(name="sample", data="dots"),
    optimizers=[Adam(), HessianFree(), BlockHessianFree()],
)

CATALOG = Catalog(
    problems=[
        ProblemInfo(
            name="sample",
            title="Sample",
            summary="Two dense layers.",
            options=WidthOptions.model_json_schema(),
            layers=[
                Layer(name="first", parameters={"weight": ["hidden", "inputs"], "bias": ["hidden"]}),
                Layer(name="second", parameters={"weight": ["classes", "hidden"], "bias": ["classes"]}),
            ],
            partition=[["first"], ["second"]],
            data=["dots"],
            accuracy=True,
            loss_unit="nats",
            preset=SPEC,
        )
    ],
    data=[
        DataSet(name="dots", title="Dots", train_size=5000, test_size=100, shape=[1, 2, 2], classes=3, embedded=True)
    ],
)


def experiment(spec: ExperimentSpec = SPEC, *, id_: str = "e0000001") -> Experiment:
    """Make an experiment with its runs, none of which has started."""
    runs = [
        Run(
            id=f"r{id_[1:]}{number}",
            experiment_id=id_,
            experiment_name=spec.name,
            config=config,
            status="queued",
            created_at=NOON,
        )
        for number, config in enumerate(spec.runs())
    ]
    return Experiment(id=id_, name=spec.name, created_at=NOON, spec=spec, runs=runs)
