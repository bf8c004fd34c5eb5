"""A line chart as SVG for the documentation: one line per optimizer, with its band from the lowest to the highest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 44, 52
TEXT, GRID = "#1b2330", "#d9dee6"


@dataclass(frozen=True)
class Line:
    """One optimizer's curves, one per seed; point i belongs to update i + 1."""

    label: str
    colour: str
    curves: Sequence[Sequence[float]]

    def mean(self) -> list[float]:
        """Average over the seeds."""
        return [sum(values) / len(values) for values in zip(*self.curves, strict=True)]

    def band(self) -> list[tuple[float, float]]:
        """Give the lowest and the highest seed."""
        return [(min(values), max(values)) for values in zip(*self.curves, strict=True)]


def draw(lines: Sequence[Line], *, title: str, x_title: str, y_title: str) -> str:
    """Draw the lines over updates, with a logarithmic y axis."""
    updates = max(len(line.mean()) for line in lines)
    low = min(low for line in lines for low, _ in line.band())
    high = max(high for line in lines for _, high in line.band())
    scale = _Scale(updates, 0.9 * low, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" fill="{TEXT}"><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 24, title, size=15),
        *_axes(scale, updates, low, high),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_title, anchor="middle"),
        f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>",
        *(part for line in lines for part in _line(line, scale)),
        *_labels(lines, scale),
        "</svg>",
    ]
    return "\n".join(parts)


class _Scale:
    """Maps update and value to the picture."""

    def __init__(self, updates: int, low: float, high: float) -> None:
        self._updates, self._low, self._high = updates, math.log(low), math.log(high)

    def x(self, update: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (update - 1) / max(self._updates - 1, 1)

    def y(self, value: float) -> float:
        share = (math.log(value) - self._low) / (self._high - self._low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def path(self, values: Sequence[float]) -> str:
        return " ".join(f"{self.x(i + 1):.1f},{self.y(value):.1f}" for i, value in enumerate(values))


def _axes(scale: _Scale, updates: int, low: float, high: float) -> list[str]:
    parts = []
    for value in (10**power * digit for power in range(-3, 6) for digit in (1, 2, 5)):
        if low <= value <= high:
            y = scale.y(value)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
            parts.append(_text(LEFT - 8, y + 4, f"{value:g}", anchor="end"))
    step = max(1, 5 * round(updates / 30))
    for update in [1, *range(step, updates + 1, step)]:
        parts.append(_text(scale.x(update), HEIGHT - BOTTOM + 20, str(update), anchor="middle"))
    return parts


def _line(line: Line, scale: _Scale) -> list[str]:
    band = line.band()
    edge = [f"{scale.x(i + 1):.1f},{scale.y(high):.1f}" for i, (_, high) in enumerate(band)]
    edge += [f"{scale.x(i + 1):.1f},{scale.y(low):.1f}" for i, (low, _) in reversed(list(enumerate(band)))]
    return [
        f'<polygon points="{" ".join(edge)}" fill="{line.colour}" fill-opacity="0.18"/>',
        f'<polyline points="{scale.path(line.mean())}" fill="none" stroke="{line.colour}" stroke-width="2"/>',
    ]


def _labels(lines: Sequence[Line], scale: _Scale) -> list[str]:
    """Write each line's name at its end, from the bottom up, at least a line height apart."""
    placed: Mapping[str, float] = {line.label: scale.y(line.mean()[-1]) for line in lines}
    parts, below = [], math.inf
    for line in sorted(lines, key=lambda line: -placed[line.label]):
        below = min(placed[line.label], below - 17)
        parts.append(_text(WIDTH - RIGHT + 8, below + 4, f"{line.label} {line.mean()[-1]:.1f}", colour=line.colour))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, colour: str = TEXT) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )
