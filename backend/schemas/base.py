"""Base of the contract: the strict base class, limits, constrained types and the declaration of a setting."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_IMAGES = 1_000_000
MAX_UPDATES = 1_000_000
MAX_HELD = 1000
MAX_RUNS_PER_EXPERIMENT = 200
MAX_BLOCKS = 64
MAX_TAGS = 20
MAX_TRACEBACK = 20_000
"""Number of characters of a traceback that are stored, counted from its end."""
STEPS_PER_BATCH = 1_000

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{8,32}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
LayerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.]{0,127}$")]
_VISIBLE = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"  # no control characters
Title = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True, pattern=_VISIBLE)]
# A note may have tabs and line ends.
_LINES = _VISIBLE.replace(r"\u0000-\u001f", r"\u0000-\u0008\u000b\u000c\u000e-\u001f")
Note = Annotated[str, StringConstraints(max_length=10_000, pattern=_LINES)]
Plain = Annotated[str, StringConstraints(pattern=r"^[^\u0000]*$")]  # PostgreSQL stores no NUL
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Contract(BaseModel):
    """Base model: refuses unknown fields, NaN and infinity; instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def setting(default: Any, description: str, *, unit: str = "", paper: Any = None, **bounds: Any) -> Any:
    """Declare a field that a user can set.

    Args:
        default: default value.
        description: one line of help.
        unit: unit of the value, if it has one.
        paper: the paper's value, if it states one.
        bounds: bounds as for `pydantic.Field`.
    """
    extra = {"unit": unit} | ({} if paper is None else {"paper": paper})
    return Field(default, description=description, json_schema_extra=extra, **bounds)
