"""Messages of the command line: errors as lines, and the nearest known name for an unknown one."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError

from backend.errors import BlockHFError, FieldError, InvalidInput
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.settings import REPLACED, Settings, faults

_GROUPS: Mapping[str, type[BaseModel]] = {"problem": Problem, "budget": Budget, "evaluation": Evaluation}
_PREFIX = "BLOCKHF_"


def lines(error: Exception) -> Iterable[object]:
    """Return an error as lines of text; raise it again if it is unexpected."""
    match error:
        case InvalidInput():
            return error.errors
        case BlockHFError():
            return [error]
        case ValidationError(title=Settings.__name__):
            return faults(error).errors
        case DBAPIError():
            return [f"database error: {str(error.orig).splitlines()[0]}"]
        case OSError(filename=str(file), strerror=str(reason)):
            return [f"{file}: {reason}"]
        case _:
            raise error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean NAME?" with the most similar known name; empty if none is similar."""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def with_suggestions(error: InvalidInput, optimizers: object) -> InvalidInput:
    """Replace pydantic's text for unknown settings by one that names the most similar setting.

    Args:
        error: the invalid fields of a specification.
        optimizers: the optimizers of the specification, as given: a list, if they are valid.
    """
    given = optimizers if isinstance(optimizers, list) else []
    kinds = [one.get("kind") if isinstance(one, dict) else None for one in given]
    return InvalidInput([_suggested(fault, kinds) for fault in error.errors])


def _suggested(fault: FieldError, kinds: list[object]) -> FieldError:
    if not fault.limit.startswith("Extra inputs"):
        return fault
    *parents, name = fault.field.split(".")
    model: type[BaseModel] | None = ExperimentSpec
    if parents and parents[0] == "optimizers":
        model = OPTIMIZERS.get(str(kinds[int(parents[1])])) if len(parents) == 2 else None
    elif parents:
        model = _GROUPS.get(parents[0])
    known = model.model_fields if model else ()
    return FieldError(fault.field, fault.value, f"unknown setting{nearest(name, known)}")


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return a warning for each variable that starts with BLOCKHF_ and is not a setting, now or earlier."""
    known = [f"{_PREFIX}{name}".upper() for name in Settings.model_fields]
    refused = {f"{_PREFIX}{name}".upper() for name in REPLACED}
    found = sorted({name for name in environment if name.startswith(_PREFIX)} - {*known} - refused)
    return [f"{name} is not a setting and has no effect{nearest(name, known)}" for name in found]
