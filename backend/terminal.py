"""Runs as a terminal shows them: a table, and progress that grows while they train."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from backend.schemas import BlockHessianFree, Run, RunStatus

STYLES = {
    RunStatus.QUEUED: "dim",
    RunStatus.RUNNING: "bold cyan",
    RunStatus.FINISHED: "green",
    RunStatus.FAILED: "bold red",
    RunStatus.CANCELLED: "yellow",
}


def optimizer_label(run: Run) -> str:
    """Name the optimizer, with the number of blocks once it is known."""
    optimizer = run.config.optimizer
    if isinstance(optimizer, BlockHessianFree) and run.blocks:
        return f"bhf, {len(run.blocks)} blocks"
    return optimizer.kind


def share_done(run: Run) -> float:
    """Return how much of the budget is used, in [0, 1], by the limit that is nearest."""
    if run.status is RunStatus.FINISHED:
        return 1.0
    budget, done = run.config.budget, run.summary
    shares = [
        used / limit
        for used, limit in ((done.updates, budget.updates), (done.epoch, budget.epochs), (done.seconds, budget.seconds))
        if limit is not None
    ]
    return min(1.0, max(shares, default=0.0))


def run_record(run: Run) -> dict[str, Any]:
    """Return what `blockhf runs --json` prints of a run."""
    return {
        "id": run.id,
        "name": run.experiment_name,
        "status": run.status.value,
        "problem": run.config.problem.name,
        "data": run.config.problem.data,
        "optimizer": run.config.optimizer.kind,
        "seed": run.config.seed,
        "updates": run.summary.updates,
        "progress": round(share_done(run), 4),
        "last": _measures(run, "last"),
        "best": _measures(run, "best"),
        "ended_by": run.ended_by,
        "error": run.error.message if run.error else None,
    }


def _measures(run: Run, which: str) -> dict[str, float | None]:
    names = ("train_loss", "test_loss", "test_accuracy")
    return {name: getattr(run.summary, f"{which}_{name}") for name in names}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def runs_table(runs: Sequence[Run]) -> Table:
    """Build the table of runs: losses in the problem's unit, times in seconds of training."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("id", "name", "optimizer", "seed", "status"):
        table.add_column(name, no_wrap=name == "id")
    table.add_column("progress", width=12)
    for name in ("updates", "seconds", "train loss", "test loss", "best test loss", "test accuracy"):
        table.add_column(name, justify="right")
    for run in runs:
        done = run.summary
        table.add_row(
            run.id,
            escape(run.experiment_name),
            optimizer_label(run),
            str(run.config.seed),
            Text(run.status.value, STYLES[run.status]),
            ProgressBar(total=1.0, completed=share_done(run), width=12),
            str(done.updates),
            f"{done.seconds:.1f}",
            _number(done.last_train_loss),
            _number(done.last_test_loss),
            _number(done.best_test_loss),
            _number(done.last_test_accuracy),
        )
        if run.error:
            table.add_row("", Text(run.error.message, "red"))
    return table


def watch(fetch: Callable[[], list[Run]], console: Console, *, interval: float) -> list[Run]:
    """Redraw the table every `interval` seconds until all runs have ended; return them."""
    runs = fetch()
    with Live(runs_table(runs), console=console, auto_refresh=False) as live:
        while not all(run.status.final for run in runs):
            time.sleep(interval)
            runs = fetch()
            live.update(runs_table(runs), refresh=True)
        live.update(runs_table(runs), refresh=True)
    return runs
