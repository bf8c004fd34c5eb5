"""Text for pages: Markdown escaping, counts, durations, slugs."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

MAX_NAME = 120
"""Characters of a comparison's or preset's name."""


def escape(text: str) -> str:
    """Escape text for places where Streamlit reads Markdown."""
    # A backslash does not prevent an icon (:material/home:) or an emoji (:smile:); a word joiner after the colon does.
    text = re.sub(r":(?=[A-Za-z0-9_+-]+(/[A-Za-z0-9_]+)?:)", ":\u2060", text)
    return "".join(f"\\{char}" if char in "\\`*_{}[]()#+-.!|<>~$:&" else char for char in text)


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 run, 2 runs."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def slug_of(text: str) -> str:
    """Write a text as a slug: "My figure 2" as "my-figure-2"; empty if no character is allowed in a slug."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-._")[:64]


def unique_labels(options: Iterable[T], label: Callable[[T], str]) -> Callable[[T], str]:
    """Make a label function whose labels differ, as each choice needs: Streamlit finds a chosen option by its label.

    Args:
        options: what is offered, without duplicates.
        label: writes the label of an option. Equal labels are followed by the option itself.

    Returns:
        The function, for `format_func`. It writes other options as `label` does.
    """
    values = list(options)
    names = [label(value) for value in values]
    counts = Counter(names)
    taken = {name for name in names if counts[name] == 1}
    found: dict[str, str] = {}  # by the option's representation, because a list has no hash, and True equals 1
    for value, name in zip(values, names, strict=True):
        unique = name
        while counts[name] > 1 and (unique == name or unique in taken):
            unique = f"{unique} \N{MIDDLE DOT} {value}"
        taken.add(unique)
        found[repr(value)] = unique
    return lambda value: found.get(repr(value)) or label(value)
