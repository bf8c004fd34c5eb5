"""A run's history as CSV: parsed and validated line by line."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from backend.errors import FieldError, InvalidInput, from_validation
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.measures import AXES, BLOCK_FIELDS, MEASURES, OLD_NAMES, UPDATE_MEASURES, Update

_BLOCK = re.compile(rf"block([0-9]{{1,3}})_({'|'.join((*BLOCK_FIELDS, *OLD_NAMES))})")


def check_one_run(spec: ExperimentSpec, prefix: str = "") -> None:
    """Check that a specification has exactly one run.

    Raises:
        InvalidInput: it has several optimizers or seeds.
    """
    limit = "at most 1: a file has one run, so set one optimizer and one seed"
    counts = {"optimizers": len(spec.optimizers), "seeds": len(spec.seeds)}
    errors = [FieldError(f"{prefix}{name}", count, limit) for name, count in counts.items() if count > 1]
    if errors:
        raise InvalidInput(errors)


def rows(text: str) -> Iterator[Update]:
    """Yield the rows of a CSV file in the format of an export. Required are `update` and one measure.

    Updates count from 1 without gaps.

    Raises:
        InvalidInput: with line and column.
    """
    reader = csv.DictReader(io.StringIO(text), strict=True)
    names = _header(reader)
    due = 1
    try:
        for line in reader:
            if None in line or None in line.values():
                raise InvalidInput([FieldError(f"csv.line{due + 1}", None, f"must have {len(names)} values")])
            yield _row(line, due)
            due += 1
    except csv.Error as error:
        raise InvalidInput([FieldError(f"csv.line{due + 1}", None, f"not CSV: {error}")]) from None
    if due == 1:
        raise InvalidInput([FieldError("csv", None, "has no rows")])


def _header(reader: "csv.DictReader[str]") -> list[str]:
    try:
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise InvalidInput([FieldError("csv", None, f"not CSV: {error}")]) from None
    unknown = [name for name in names if name not in UPDATE_MEASURES and not _BLOCK.fullmatch(name)]
    if unknown or len(set(names)) < len(names):
        limit = f"update, diverged, {', '.join((*AXES, *MEASURES))}, block0_cg_iterations and so on, each at most once"
        raise InvalidInput([FieldError("csv", (unknown or names)[0][:200], f"allowed columns are {limit}")])
    if "update" not in names or not set(MEASURES) & set(names):
        raise InvalidInput([FieldError("csv", None, f"needs the column update and one of {', '.join(MEASURES)}")])
    return names


def _row(line: dict[str, str], due: int) -> Update:
    given = {name: value for name, value in line.items() if value != ""}
    blocks: dict[int, dict[str, Any]] = {}
    for name in list(given):
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), {"residual": None, "model_decrease": None})[
                OLD_NAMES.get(match[2], match[2])
            ] = given.pop(name)
    numbers = sorted(blocks)
    if numbers and numbers[-1] >= len(numbers):
        missing = next(n for n, number in enumerate(numbers) if n != number)
        limit = f"blocks count from 0 without gaps, and this row has block {numbers[-1]}"
        raise InvalidInput([FieldError(f"csv.line{due + 1}.block{missing}_cg_iterations", None, limit)])
    defaults = {name: 0 for name in AXES if Update.model_fields[name].is_required()} | dict.fromkeys(MEASURES)
    try:
        row = Update.model_validate(defaults | given | {"blocks": [blocks[number] for number in numbers]})
    except ValidationError as error:
        named = [{**one, "loc": _column(one["loc"])} for one in error.errors()]
        raise from_validation(named, (f"csv.line{due + 1}",)) from None
    if row.update != due:
        limit = f"updates count from 1 without gaps; {due} is next"
        raise InvalidInput([FieldError(f"csv.line{due + 1}.update", row.update, limit)])
    return row


def _column(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the column of an invalid value, given its path in the row."""
    match place:
        case ("blocks", int(at), str(field), *_):
            return (f"block{at}_{field}",)
    return place
