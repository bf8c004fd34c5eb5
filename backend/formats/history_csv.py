"""A run's history as CSV text: its rows, checked line by line, and pieces that a request's limit lets pass."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from backend.errors import FieldError, InvalidInput, from_validation
from backend.schemas.api import AXES, BLOCK_FIELDS, MEASURES
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.runs import Update

PIECE_BYTES = 400_000

_BLOCK = re.compile(rf"block([0-9]{{1,3}})_({'|'.join(BLOCK_FIELDS)})")
_KNOWN = {"update", "diverged", *AXES, *MEASURES}


def check_one_run(spec: ExperimentSpec, prefix: str = "") -> None:
    """Raise InvalidInput that names what there are several of, where a history's maker is not one run."""
    limit = "at most 1: a file holds one run, give one optimizer and one seed"
    counts = {"optimizers": len(spec.optimizers), "seeds": len(spec.seeds)}
    errors = [FieldError(f"{prefix}{name}", count, limit) for name, count in counts.items() if count > 1]
    if errors:
        raise InvalidInput(errors)


def parse(text: str, *, whole: bool = True) -> list[Update]:
    """Read the lines of a CSV file as an export writes it; only `update` and one measure are needed.

    Updates follow each other from 1, or, of a piece that is not the `whole`, from any number. Raises InvalidInput that
    names the line of the whole history, and the column.
    """
    return list(rows(text, whole=whole))


def rows(text: str, *, whole: bool = True) -> Iterator[Update]:
    """Yield what `parse` returns, one at a time."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    names = _header(reader)
    due = first = 1
    try:
        for line in reader:
            if due == first and not whole:
                due = first = _number(line.get("update"))
            if None in line or None in line.values():
                raise InvalidInput([FieldError(f"csv.line{due + 1}", None, f"must have {len(names)} values")])
            yield _row(line, due=due, first=first)
            due += 1
    except csv.Error as error:
        raise InvalidInput([FieldError(f"csv.line{due + 1}", None, f"not CSV: {error}")]) from None
    if due == first:
        raise InvalidInput([FieldError("csv", None, "has no rows")])


def pieces(text: str, *, size: int = PIECE_BYTES) -> Iterator[str]:
    """Cut a history between rows, each piece with the header and about as many bytes at most."""
    lines = io.StringIO(text)
    header = next(lines, "")
    piece, room, quotes = [header], 0, 0
    for line in lines:
        if room + len(line.encode()) > size and room and quotes % 2 == 0:  # an odd one: a line end within a value
            yield "".join(piece)
            piece, room = [header], 0
        piece.append(line)
        room += len(line.encode())
        quotes += line.count('"')
    yield "".join(piece)


def _number(text: str | None) -> int:
    """Read where a piece begins; what is no number is refused with its row."""
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) < 10 else 1


def _header(reader: "csv.DictReader[str]") -> list[str]:
    try:
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise InvalidInput([FieldError("csv", None, f"not CSV: {error}")]) from None
    unknown = [name for name in names if name not in _KNOWN and not _BLOCK.fullmatch(name)]
    if unknown or len(set(names)) < len(names):
        limit = f"each once, of update, diverged, {', '.join((*AXES, *MEASURES))}, block0_cg_iterations and the like"
        raise InvalidInput([FieldError("csv", (unknown or names)[0][:200], f"the columns must be, {limit}")])
    if "update" not in names or not set(MEASURES) & set(names):
        raise InvalidInput([FieldError("csv", None, f"needs the column update and one of {', '.join(MEASURES)}")])
    return names


def _row(line: dict[str, str], *, due: int, first: int) -> Update:
    given = {name: value for name, value in line.items() if value != ""}
    blocks: dict[int, dict[str, Any]] = {}
    for name in list(given):
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), {"residual": None, "model_decrease": None})[match[2]] = given.pop(name)
    numbers = sorted(blocks)
    if numbers and numbers[-1] >= len(numbers):
        missing = next(n for n, number in enumerate(numbers) if n != number)
        limit = f"blocks follow each other from 0 without gaps, and this row has block {numbers[-1]}"
        raise InvalidInput([FieldError(f"csv.line{due + 1}.block{missing}_cg_iterations", None, limit)])
    defaults = {name: 0 for name in AXES if Update.model_fields[name].is_required()} | dict.fromkeys(MEASURES)
    try:
        row = Update.model_validate(defaults | given | {"blocks": [blocks[number] for number in numbers]})
    except ValidationError as error:
        named = [{**one, "loc": _column(one["loc"])} for one in error.errors()]
        raise from_validation(named, (f"csv.line{due + 1}",)) from None
    if row.update != due:
        limit = f"updates follow each other from {first} without gaps; {due} is next"
        raise InvalidInput([FieldError(f"csv.line{due + 1}.update", row.update, limit)])
    return row


def _column(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Name the column of what is wrong within a block; another value's place is its column."""
    match place:
        case ("blocks", int(at), str(field), *_):
            return (f"block{at}_{field}",)
    return place
