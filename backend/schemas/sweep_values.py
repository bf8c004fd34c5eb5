"""Values of a sweep: parsed from text of the form or the command line, and combined."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Value = bool | int | float | str

_RANGE = re.compile(r"(?P<low>[-+.0-9e]+)\.\.(?P<high>[-+.0-9e]+)/(?P<count>[0-9]{1,3})", re.IGNORECASE)
_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LOGARITHMIC_FROM = 10
"""Ratio of a range's ends above which its values are spaced evenly on a logarithmic scale."""


def parse_values(text: str, *, integer: bool = False, words: bool = False) -> list[Value]:
    """Read "0.01, 0.1 1" as a list, and "0.01..1/3" as a range of 3 values from 0.01 to 1; drop repeated values.

    Args:
        text: values and ranges, separated by commas or spaces.
        integer: whether to round the numbers, for a setting that is an integer.
        words: whether values may contain spaces, such as "one per layer"; then only commas separate them.
    """
    found: list[Value] = []
    parts = map(str.strip, text.split(",")) if words else text.replace(",", " ").split()
    for part in filter(None, parts):
        ends = _RANGE.fullmatch(part)
        low, high = (_number(ends["low"]), _number(ends["high"])) if ends else (None, None)
        if ends and low is not None and high is not None:
            found.extend(_range(low, high, int(ends["count"])))
        else:
            found.append(parse_value(part))
    if integer:
        found = [round(value) if isinstance(value, float) and math.isfinite(value) else value for value in found]
    return list(dict.fromkeys(found))


def parse_value(text: str) -> Value:
    """Read one value: a number, true or false, or else a word."""
    number = _number(text)
    return number if number is not None else _SWITCHES.get(text.lower(), text)


def combinations(values: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield each combination of the settings' values; the last setting varies fastest."""
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _range(low: float, high: float, count: int) -> list[float]:
    if count < 2 or not math.isfinite(low + high):
        return [low] if count == 1 else []
    shares = [i / (count - 1) for i in range(count)]
    if low > 0 and high / low > _LOGARITHMIC_FROM:
        return [float(f"{low * (high / low) ** share:.4g}") for share in shares]
    return [float(f"{low + (high - low) * share:.4g}") for share in shares]
