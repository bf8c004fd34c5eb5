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

MAX_LEFT_OUT = 200_000
"""Maximum number of updates that a file may leave out: each is stored as a row."""
_NOT_FINITE = {"nan", "inf", "infinity", "none", "null"}
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
    """Yield the rows of a CSV file in the format of an export, or as other programs write it.

    Required are `update` and one measure. Updates rise; those that the file leaves out are rows without measures.
    A file whose first update is 0 counts from 0, so 1 is added to each. Cells that are not finite are empty. Semicolons
    or tabs separate cells if the header has no comma; numbers may then have a decimal comma.

    Raises:
        InvalidInput: with line and column.
    """
    text = text.removeprefix("\ufeff")
    separator = _separator(text)
    reader = csv.DictReader(io.StringIO(text), strict=True, delimiter=separator)
    names = _header(reader)
    previous: Update | None = None
    number, first = 1, 1
    left_out = 0
    try:
        for line in reader:
            number += 1
            if None in line or None in line.values():
                raise InvalidInput([FieldError(f"csv.line{number}", None, f"must have {len(names)} values")])
            if separator != ",":
                line = {name: value.replace(",", ".") for name, value in line.items()}
            if previous is None:
                first = 0 if line["update"].strip() in {"0", "0.0"} else 1
            row = _row(line, number, first)
            _check_order(row, previous, number, first)
            left_out += row.update - 1 - (previous.update if previous else 0)
            if left_out > MAX_LEFT_OUT:
                limit = f"the file leaves out more than {MAX_LEFT_OUT:,} updates: divide their numbers by the interval"
                raise InvalidInput([FieldError(f"csv.line{number}.update", row.update - 1 + first, limit)])
            yield from _between(previous, row)
            yield row
            previous = row
    except csv.Error as error:
        raise InvalidInput([FieldError(f"csv.line{number + 1}", None, f"not CSV: {error}")]) from None
    if previous is None:
        raise InvalidInput([FieldError("csv", None, "has no rows")])


def _separator(text: str) -> str:
    head = text.partition("\n")[0]
    return next((one for one in (",", ";", "\t") if one in head), ",")


def _check_order(row: Update, previous: Update | None, number: int, first: int) -> None:
    """Raise InvalidInput if the updates do not rise, or an axis falls."""
    if previous is None:
        return
    if row.update <= previous.update:
        limit = f"must be more than {previous.update - 1 + first}, the update before: sort the rows, one per update"
        raise InvalidInput([FieldError(f"csv.line{number}.update", row.update - 1 + first, limit)])
    for name in AXES:
        before, now = getattr(previous, name), getattr(row, name)
        if before is not None and now is not None and now < before:
            limit = f"must be at least {before:g}, as in the line before: add the total of the part that was resumed"
            raise InvalidInput([FieldError(f"csv.line{number}.{name}", now, limit)])


def _between(previous: Update | None, row: Update) -> Iterator[Update]:
    """Yield rows without measures for the updates that the file leaves out; the axes stay at their last values."""
    empty: dict[str, Any] = {name: 0 for name in AXES if Update.model_fields[name].is_required()}
    empty |= dict.fromkeys(MEASURES)
    axes = {name: getattr(previous, name) for name in AXES} if previous else {}
    for update in range(previous.update + 1 if previous else 1, row.update):
        yield Update.model_validate(empty | axes | {"update": update})


def _header(reader: "csv.DictReader[str]") -> list[str]:
    try:
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise InvalidInput([FieldError("csv", None, f"not CSV: {error}")]) from None
    unknown = [name for name in names if name not in UPDATE_MEASURES and not _BLOCK.fullmatch(name)]
    if unknown or len(set(names)) < len(names):
        limit = f"update, diverged, {', '.join((*AXES, *MEASURES))}, block0_cg_iterations and so on, each at most once"
        raise InvalidInput(
            [FieldError("csv", (unknown or names)[0][:200], f"rename or remove it; allowed are {limit}")]
        )
    if "update" not in names or not set(MEASURES) & set(names):
        raise InvalidInput([FieldError("csv", None, f"needs the column update and one of {', '.join(MEASURES)}")])
    return names


def _row(line: dict[str, str], number: int, first: int) -> Update:
    given: dict[str, Any] = {name: value for name, value in line.items() if not _is_empty(name, value)}
    if first == 0 and given.get("update", "").strip().isdecimal():
        given["update"] = int(given["update"]) + 1
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
        raise InvalidInput([FieldError(f"csv.line{number}.block{missing}_cg_iterations", None, limit)])
    defaults = {name: 0 for name in AXES if Update.model_fields[name].is_required()} | dict.fromkeys(MEASURES)
    try:
        row = Update.model_validate(defaults | given | {"blocks": [blocks[number] for number in numbers]})
    except ValidationError as error:
        named = [{**one, "loc": _column(one["loc"])} for one in error.errors()]
        raise from_validation(named, (f"csv.line{number}",)) from None
    return row


def _is_empty(name: str, value: str) -> bool:
    """Return whether a cell has no value. NaN and infinity are none, except in the columns of the order."""
    return value == "" or (name not in {"update", "diverged"} and value.strip().lower().lstrip("+-") in _NOT_FINITE)


def _column(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the column of an invalid value, given its path in the row."""
    match place:
        case ("blocks", int(at), str(field), *_):
            return (f"block{at}_{field}",)
    return place
