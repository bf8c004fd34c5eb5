"""Commands that reproduce the paper: reproduce, report."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from backend.client import Client
from backend.errors import FieldError, InvalidInput
from backend.paper.curves import collect, write
from backend.paper.html_report import report as write_report
from backend.paper.results_catalog import view
from backend.paper.specifications import LONG, PaperProblem, Question, Scale, mark_of, reproduction, study, study_name
from backend.paper.study import answer
from backend.schemas.experiments import ExperimentSpec

app = typer.Typer()


class Subject(StrEnum):
    """What can be reproduced: a figure of the paper, the study of settings, or the long sweeps of the study."""

    AUTOENCODER = "autoencoder"
    LSTM = "lstm"
    CNN = "cnn"
    STUDY = "study"
    QUESTION = "question"


def specifications(subject: Subject, scale: Scale) -> list[ExperimentSpec]:
    """Return the experiments of a subject: one for a figure, one per question for the study and its long sweeps."""
    if subject in {Subject.STUDY, Subject.QUESTION}:
        return [study(question) for question in Question if (question in LONG) is (subject is Subject.QUESTION)]
    return [reproduction(PaperProblem(subject.value), scale)]


@app.command()
def reproduce(
    subject: Annotated[
        Subject,
        typer.Argument(
            help="A figure of the paper, the study of settings, or the long sweeps of the study (question)."
        ),
    ],
    scale: Annotated[
        Scale,
        typer.Option(
            help="quick: about 3 minutes; laptop: up to 2 hours on 2 cores; full: as in the paper, for a GPU."
        ),
    ] = Scale.QUICK,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Queue the runs of a figure of the paper and print the ids of the experiments, for `watch` and `report`.

    A figure compares Adam with a small and a large mini-batch, HF, and BHF with three curvature batches, for 3 seeds.
    The study and the question have one scale. The question compares BHF and HF with a small curvature batch on the
    paper's network and data: 12 runs, half an hour on one core.
    """
    with Client.of() as client:
        launched = [client.launch(spec) for spec in specifications(subject, scale)]
    if as_json:
        typer.echo(json.dumps([{"id": e.id, "name": e.name, "runs": [run.id for run in e.runs]} for e in launched]))
    else:
        for experiment in launched:
            typer.echo(experiment.id)


@app.command()
def report(
    experiment: Annotated[str, typer.Argument(help="Id of an experiment.")],
    to: Annotated[Path | None, typer.Option("--to", help="File to write; default: EXPERIMENT.html.")] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Also write the evaluated updates and configurations to this Parquet file."),
    ] = None,
) -> None:
    """Write an experiment's figure, verdicts and configurations to one self-contained HTML file."""
    target = to or Path(f"{experiment}.html")
    for option, path in (("--to", target), ("--data", data)):
        if path is not None and not path.absolute().parent.is_dir():
            raise InvalidInput([FieldError(option, str(path), "the folder does not exist")])
    with Client.of() as client:
        results = collect(client.experiment(experiment), client.series)
    questions = [q for q in Question if results.spec.reproduces == mark_of(q) or results.spec.name == study_name(q)]
    answers = [answer(question, results, recorded=False) for question in questions]
    html = write_report(view(results), [curve.config for curve in results.curves], answers)
    target.write_text(html, encoding="utf-8")
    typer.echo(target)
    if data is not None:
        data.write_bytes(write(results))
        typer.echo(data)
