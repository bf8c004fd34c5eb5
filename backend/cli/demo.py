"""The comparison that `blockhf up` queues on an empty database."""

from backend.client import Client
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Experiment

GRADIENT_BATCH = 500
CURVATURE_BATCH = 125

DEMO = ExperimentSpec(
    name="First comparison: deep autoencoder on 5,000 digits",
    optimizers=[
        Adam(gradient_batch=GRADIENT_BATCH),
        BlockHessianFree(gradient_batch=GRADIENT_BATCH, curvature_batch=CURVATURE_BATCH),
        HessianFree(gradient_batch=GRADIENT_BATCH, curvature_batch=CURVATURE_BATCH),
    ],
    budget=Budget(updates=40),
    evaluation=Evaluation(train_subset=1000),
)


def launch_demo(client: Client) -> Experiment | None:
    """Queue the first comparison if there has never been an experiment; the key prevents queueing it twice."""
    if client.experiments(limit=1, archived=True, deleted=True):
        return None
    return client.launch(DEMO, idempotency_key="first-comparison")
