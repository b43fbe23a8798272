"""CPU a request as bars in one SVG: a group for each request, a bar for each who answers it.

Owns coordinates and colours. It is written by hand, so that nobody needs a library to plot, and the
same numbers give the same file.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from html import escape

from tests.bench.comparison.contestants import CASES
from tests.bench.comparison.report import LABELS, Measured

_WIDTH, _LEFT, _RIGHT, _TOP = 860, 250, 90, 52
_BAR, _GAP, _GROUP = 18, 4, 34
_COLOURS = {
    "Lyceum": "#15803d",
    "raw aiohttp": "#6b7280",
    "Fastify + AWS SDK v3": "#1d4ed8",
    "aiohttp + aioboto3": "#d97706",
    "FastAPI + uvicorn + aioboto3": "#b91c1c",
}


def draw(measured: Measured) -> str:
    """The document."""
    groups = {
        case: {
            LABELS[name]: (
                statistics.median(slices.cpu_microseconds),
                min(slices.cpu_microseconds),
                max(slices.cpu_microseconds),
            )
            for name, slices in by_contestant.items()
        }
        for case, by_contestant in measured.cases.items()
    }
    most = max((high for group in groups.values() for _, _, high in group.values()), default=1.0)
    height = _TOP + sum(_GROUP + len(group) * (_BAR + _GAP) for group in groups.values()) + 12
    title = "CPU a request, in microseconds (median of the rounds; the line is their spread)"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' width="{_WIDTH}" height="{height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12" fill="#111827">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    top = float(_TOP)
    for case, group in groups.items():
        parts.append(
            f'<text x="16" y="{top + 12:g}" font-weight="600">{escape(CASES[case])}</text>'
        )
        top += 20
        for label, (middle, low, high) in group.items():
            parts += _bar(label, middle, low, high, top, (_WIDTH - _LEFT - _RIGHT) / most)
            top += _BAR + _GAP
        top += _GROUP - 20
    return "\n".join([*parts, "</svg>", ""])


def _bar(
    label: str, middle: float, low: float, high: float, top: float, scale: float
) -> Iterator[str]:
    centre = top + _BAR / 2
    yield (
        f'<text x="{_LEFT - 8}" y="{centre + 4:g}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{_LEFT}" y="{top:g}" width="{middle * scale:.1f}" height="{_BAR}"'
        f' fill="{_COLOURS[label]}"/>'
    )
    yield (
        f'<line x1="{_LEFT + low * scale:.1f}" x2="{_LEFT + high * scale:.1f}" y1="{centre:g}"'
        f' y2="{centre:g}" stroke="#111827"/>'
    )
    yield f'<text x="{_LEFT + high * scale + 6:.1f}" y="{centre + 4:g}">{middle:,.0f}</text>'
