"""A tiny problem announced by hand, and rows reported by hand, where a test plays the worker itself."""

import math

from backend.schemas.catalog import Catalog, DataSet, Layer, ProblemInfo, WorkerInfo
from backend.schemas.experiments import Budget, ExperimentSpec, Problem
from backend.schemas.measures import Update
from backend.schemas.optimizers import Adam, HessianFree
from tests.clients import BothClient

SPEC = ExperimentSpec(
    name="By hand",
    problem=Problem(name="tiny", data="dots"),
    optimizers=[Adam(), HessianFree()],
    budget=Budget(updates=50),
)

HOSTILE = [
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<b>{}</b>",
    "<a href='javascript:{}'>a</a>",
    "[a](javascript:{})",
    "![a](x){{onerror={}}}",
    "{}</title></script><script>alert(1)</script>",
    "'-{}-'",
    '"><iframe srcdoc={}>',
    "${{{}}}",
    "%{{y}} {}",
    "{{{{{}}}}}",
    "\u05e9\u05dc\u05d5\u05dd {}",
    "\U0001f4a5 {}",
    "$\\LaTeX {}$",
    ":material/home: {}",
    ":red[{}]",
    "`{}`",
    "&lt;script&gt;{}",
]
"""What does something where it is not taken for text; braces take what it would run."""


def catalog() -> Catalog:
    """Describe the one problem and its data."""
    info = ProblemInfo(
        name="tiny", title="Tiny", summary="One layer.", options={"type": "object", "properties": {}},
        layers=[Layer(name="only", parameters={"weight": ["inputs", 4]})], partition=[["only"]], data=["dots"],
        accuracy=True, loss_unit="nats <i>", preset=SPEC,
    )  # fmt: skip
    dots = DataSet(name="dots", title="Dots", train_size=5000, test_size=100, shape=[1, 2, 2], classes=2, embedded=True)
    return Catalog(problems=[info], data=[dots])


def register(client: BothClient) -> str:
    """Announce a worker of the tiny problem; return its id."""
    return client.register(WorkerInfo(name="by hand", device="cpu", threads=1), catalog()).worker_id


def claims(client: BothClient, worker: str) -> list[tuple[str, int]]:
    """Claim every run that waits; return each one's id and token, in the order in which they start."""
    taken = []
    while claim := client.claim(worker):
        taken.append((claim.run.id, claim.claim_number))
    return taken


def row(update: int, rate: float = 0.1, *, diverged: bool = False) -> Update:
    """Make one update's row of a smooth curve from 100 down to 10."""
    loss = None if diverged else 10 + 90 * math.exp(-rate * update)
    return Update(
        update=update, epoch=update / 4, samples=update * 1000, seconds=update * 0.2, cost=update * 2, batch_loss=loss,
        train_loss=loss, test_loss=loss, test_accuracy=None if diverged else 1 - math.exp(-rate * update),
        gradient_norm=1.0, step_norm=0.1, diverged=diverged,
    )  # fmt: skip
