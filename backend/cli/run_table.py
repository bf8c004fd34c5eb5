"""Runs in the terminal: a table, and a live display of their progress."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from backend.client.retry import call_with_retry
from backend.client.transport import RETRY_SECONDS
from backend.errors import BackendUnavailable
from backend.schemas.run_names import run_names
from backend.schemas.runs import Run, RunStatus

STYLES = {
    RunStatus.QUEUED: "dim",
    RunStatus.RUNNING: "bold cyan",
    RunStatus.PAUSED: "blue",
    RunStatus.FINISHED: "green",
    RunStatus.FAILED: "bold red",
    RunStatus.CANCELLED: "yellow",
}


def run_record(run: Run) -> dict[str, Any]:
    """Return the fields of a run for `--json`."""
    return {
        "id": run.id,
        "name": run.experiment_name,
        "status": run.status.value,
        "problem": run.config.problem.name,
        "data": run.config.problem.data,
        "optimizer": run.config.optimizer.kind,
        "seed": run.config.seed,
        "updates": run.summary.updates,
        "progress": round(run.progress, 4),
        "last": _measures(run, "last"),
        "best": _measures(run, "best"),
        "ended_by": run.ended_by,
        "error": run.error.message if run.error else None,
    }


def records(runs: Sequence[Run]) -> str:
    """Return runs as JSON."""
    return json.dumps([run_record(run) for run in runs], indent=2)


def _measures(run: Run, which: str) -> dict[str, float | None]:
    names = ("train_loss", "test_loss", "test_accuracy")
    return {name: getattr(run.summary, f"{which}_{name}") for name in names}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


WIDE = 130
"""Terminal width from which the table includes comparison, progress, training time and best values [characters]."""


def runs_table(runs: Sequence[Run], *, width: int) -> Table:
    """Return the table of runs. train, test: last losses in the problem's unit; best: lowest test loss.

    Runs are named as on the pages, by the settings in which the listed runs of their comparison differ.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if width >= WIDE else 0, 0, 0))
    columns = [column for column in _COLUMNS if width >= WIDE or not column.wide]
    for column in columns:
        whole = column.title == "run"  # a name that is cut does not tell runs apart: it takes more lines instead
        table.add_column(
            column.title,
            justify=column.justify,
            no_wrap=not whole,
            overflow="fold" if whole else "ellipsis",
            width=column.width,
        )
    for run, name in zip(runs, run_names(runs), strict=True):
        table.add_row(*(Text(name) if column.title == "run" else column.cell(run) for column in columns))
    return table


def failures(runs: Sequence[Run]) -> list[Text]:
    """Return one line per failed run: id and reason."""
    return [Text(f"{run.id} failed: {run.error.message}", "red") for run in runs if run.error]


@dataclass(frozen=True)
class _Column:
    """A column; `wide` ones are omitted in a narrow terminal."""

    title: str
    cell: Callable[[Run], RenderableType]
    wide: bool = False
    justify: Literal["left", "right"] = "left"
    width: int | None = None


def _value(title: str, measure: str, *, wide: bool = False) -> _Column:
    return _Column(title, lambda run: _number(getattr(run.summary, measure)), wide, "right", 8)


_COLUMNS = (
    _Column("id", lambda run: run.id, width=16),
    _Column("comparison", lambda run: Text(run.experiment_name), wide=True, width=24),
    _Column("run", lambda run: run.id),  # its name depends on the other runs: see `runs_table`
    _Column("status", lambda run: Text(run.status.value, STYLES[run.status]), width=9),
    _Column("progress", lambda run: ProgressBar(total=1.0, completed=run.progress, width=8), wide=True, width=8),
    _Column("updates", lambda run: str(run.summary.updates), justify="right", width=7),
    _Column("seconds", lambda run: f"{run.summary.seconds:.1f}", wide=True, justify="right", width=8),
    _value("train", "last_train_loss"),
    _value("test", "last_test_loss"),
    _value("best", "best_test_loss", wide=True),
    _value("accuracy", "last_test_accuracy", wide=True),
)


def shown(runs: Sequence[Run], *, width: int) -> Group:
    """Return the table, followed by the reasons of failed runs."""
    return Group(runs_table(runs, width=width), *failures(runs))


def _unreachable(error: Exception) -> Text:
    """Return the message for an unreachable backend."""
    return Text(f"Backend unreachable; runs continue. Reconnecting: {error}", "yellow")


def at_rest(run: Run) -> bool:
    """Return whether a run has ended or is paused."""
    return run.final or run.status is RunStatus.PAUSED


def watch(fetch: Callable[[], list[Run]], console: Console, *, interval: float) -> list[Run]:
    """Redraw the table every `interval` seconds until all runs have ended or are paused; return them.

    If the backend becomes unreachable, this shows a message (on standard error if the console is not a terminal) and
    retries for 5 minutes.

    Raises:
        BackendUnavailable: the backend is unreachable at the start, or for more than 5 minutes later.
    """
    runs = fetch()
    with Live(shown(runs, width=console.width), console=console, auto_refresh=False) as live:
        while not all(at_rest(run) for run in runs):
            time.sleep(interval)
            runs = _fetch_again(fetch, runs, live)
            live.update(shown(runs, width=console.width), refresh=True)
    paused = [run.id for run in runs if run.status is RunStatus.PAUSED]
    if paused:
        console.print(
            f"Paused runs remain; to continue: blockhf resume {' '.join(paused)}", soft_wrap=True, markup=False
        )
    return runs


def _fetch_again(fetch: Callable[[], list[Run]], known: Sequence[Run], live: Live) -> list[Run]:
    """Fetch the runs; until that succeeds show the last known ones and the reason."""
    reported = False

    def report(error: Exception) -> None:
        nonlocal reported
        live.update(Group(shown(known, width=live.console.width), _unreachable(error)), refresh=True)
        if not reported and not live.console.is_terminal:
            Console(stderr=True).print(_unreachable(error), soft_wrap=True)
        reported = True

    return call_with_retry(fetch, on=BackendUnavailable, seconds=RETRY_SECONDS, failed=report)
