"""Lines in panels beside each other, as one SVG.

Owns coordinates, ticks and colours. It must not know what a line is of. It is written by hand, so that
the same numbers give the same file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

_PANEL_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 18, 58, 48
_MARGIN = 16
"""For the last panel's last tick, whose number is written around it."""
_MOST_TICKS = 9
_COLOURS = ("#15803d", "#1d4ed8", "#d97706", "#b91c1c")
_GREY, _DARK = "#9ca3af", "#111827"

Point = tuple[float, float, float, float]
"""x, y, and the least and the most that y was."""


@dataclass(frozen=True)
class Line:
    """`dashed`: a line to compare with, in grey."""

    label: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """`logarithmic`: on both axes, where a power of x is a straight line. Otherwise y begins at 0."""

    title: str
    x_label: str
    lines: Sequence[Line]
    logarithmic: bool


def draw(title: str, panels: Sequence[Panel]) -> str:
    """The document."""
    legend = 16 * max(len(panel.lines) for panel in panels)
    width = _PANEL_WIDTH * len(panels) + _MARGIN
    height = _TOP + _HEIGHT + _BOTTOM + legend
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12" fill="{_DARK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, place * _PANEL_WIDTH)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, left: float) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    across = _ticks([point[0] for point in points], panel.logarithmic)
    up = _ticks([value for point in points for value in point[1:]], panel.logarithmic)
    x = _scale(across, left + _LEFT, left + _PANEL_WIDTH - _RIGHT, panel.logarithmic)
    y = _scale(up, _TOP + _HEIGHT, _TOP, panel.logarithmic)
    bottom = _TOP + _HEIGHT
    yield f'<text x="{left + _LEFT:g}" y="46" font-weight="600">{escape(panel.title)}</text>'
    for tick in up:
        yield (
            f'<line x1="{left + _LEFT:g}" x2="{left + _PANEL_WIDTH - _RIGHT:g}" y1="{y(tick):.1f}"'
            f' y2="{y(tick):.1f}" stroke="#e5e7eb"/>'
        )
        yield (
            f'<text x="{left + _LEFT - 8:g}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,g}</text>'
        )
    for tick in across:
        yield (
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{bottom}" y2="{bottom + 4}"'
            f' stroke="{_GREY}"/>'
        )
        yield f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:,g}</text>'
    yield (
        f'<text x="{left + (_LEFT + _PANEL_WIDTH - _RIGHT) / 2:g}" y="{bottom + 36}"'
        f' text-anchor="middle">{escape(panel.x_label)}</text>'
    )
    colours = iter(_COLOURS)
    for number, line in enumerate(panel.lines):
        colour = _GREY if line.dashed else next(colours)
        yield from _line(line, colour, x, y)
        yield (
            f'<text x="{left + _LEFT:g}" y="{bottom + 54 + 16 * number}" fill="{colour}">'
            f"{escape(line.label)}</text>"
        )


def _line(
    line: Line, colour: str, x: Callable[[float], float], y: Callable[[float], float]
) -> Iterator[str]:
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b, _, _ in line.points)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
    if line.dashed:
        return
    for a, b, low, high in line.points:
        if high > low:
            yield (
                f'<line x1="{x(a):.1f}" x2="{x(a):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"'
                f' stroke="{colour}"/>'
            )
        yield f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.6" fill="{colour}"/>'


def _scale(
    ticks: Sequence[float], low: float, high: float, logarithmic: bool
) -> Callable[[float], float]:
    convert = math.log10 if logarithmic else float
    first, last = convert(ticks[0]), convert(ticks[-1])

    def place(value: float) -> float:
        return low + (convert(value) - first) / (last - first) * (high - low)

    return place


def _ticks(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Round numbers from below the least value to above the greatest one."""
    most = max(values)
    if not logarithmic:
        step = _round_up(most / 5) if most > 0 else 1.0
        return [step * n for n in range(math.ceil(most / step - 1e-9) + 1 if most > 0 else 2)]
    least = min(values)
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    decades = [10.0**n for n in range(first, max(last, first + 1) + 1)]
    fine = sorted(factor * decade for factor in (1, 2, 5) for decade in decades)
    shown = _between(fine, least, most)
    return shown if len(shown) <= _MOST_TICKS else _between(decades, least, most)


def _between(ticks: Sequence[float], least: float, most: float) -> list[float]:
    """Those from the last one that is not above the least value to the first one that is not below the
    greatest; two at least."""
    first = max(n for n, tick in enumerate(ticks) if tick <= least * (1 + 1e-9))
    last = min(n for n, tick in enumerate(ticks) if tick >= most * (1 - 1e-9))
    return list(ticks[first : max(last, first + 1) + 1])


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))
