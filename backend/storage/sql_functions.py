"""Aggregate functions with the same result on SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_LARGEST = 1e300
_SMALLEST = 1e-300


class mean(FunctionElement[float]):  # noqa: N801 - named as SQL's functions are
    """The mean of a column; null if there are no values, or if it overflows.

    PostgreSQL's avg also sums squares, and the query fails when those overflow: from 1e154, which a diverging run can
    reach. So on PostgreSQL the mean is sum / count instead. It is null if a value exceeds 1e300, and 0 if the sum is
    below 1e-300, as PostgreSQL also fails when a quotient is too small for a double.
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
