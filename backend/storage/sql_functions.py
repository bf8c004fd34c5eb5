"""Aggregates that both databases compute alike."""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_LARGEST = 1e300
_SMALLEST = 1e-300


class mean(FunctionElement[float]):  # noqa: N801 - named as SQL's functions are
    """The mean of a column's values, null where there are none or where it overflows.

    PostgreSQL's avg keeps a sum of squares too, and fails the whole query once that overflows: from 1e154 on, which a
    run that diverges may reach. There, it is null where a value is above 1e300, and 0 where the sum is below 1e-300:
    PostgreSQL fails a query too when a quotient is too small for a double.
    """

    type = Double()
    inherit_cache = True


@compiles(mean)
def _everywhere(element: mean, compiler: Any, **how: Any) -> str:
    return f"avg({compiler.process(element.clauses, **how)})"


@compiles(mean, "postgresql")
def _in_postgres(element: mean, compiler: Any, **how: Any) -> str:
    x = compiler.process(element.clauses, **how)
    total = f"sum(CASE WHEN abs({x}) <= {_LARGEST} THEN {x} END)"
    small = f"CASE WHEN abs({total}) < {_SMALLEST} THEN 0 ELSE {total} / count({x}) END"
    return f"CASE WHEN max(abs({x})) <= {_LARGEST} THEN {small} END"
