"""The courses of a spike as one SVG: a panel each, what was offered, served and refused over time.

Owns coordinates and colours. It is written by hand, so that nobody needs a library to plot, and the
same numbers give the same file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from deploy.rightsizing._spike import Course, Moment

_WIDTH, _PANEL, _GAP = 860, 150, 46
_LEFT, _RIGHT, _TOP = 70, 20, 64
_POINTS = 400

_SERIES = (
    ("offered", "#6b7280", "offered"),
    ("served", "#15803d", "served"),
    ("refused", "#d97706", "refused at once"),
    ("failed", "#b91c1c", "waited in vain"),
)
_DASHED = (("dependency_capacity", "#1d4ed8", "the dependency's capacity"),)


def draw(courses: Sequence[Course], *, title: str) -> str:
    """The document."""
    height = _TOP + len(courses) * (_PANEL + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' width="{_WIDTH}" height="{height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12" fill="#111827">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="15" font-weight="600">{escape(title)}</text>',
        *_legend(),
    ]
    for place, course in enumerate(courses):
        parts += _panel(course, _TOP + place * (_PANEL + _GAP) + 18)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> Iterator[str]:
    x = _LEFT
    for _, colour, text in (*_SERIES, *_DASHED):
        dash = ' stroke-dasharray="5 3"' if text == _DASHED[0][2] else ""
        yield (
            f'<line x1="{x}" y1="38" x2="{x + 22}" y2="38" stroke="{colour}"'
            f' stroke-width="2"{dash}/>'
        )
        yield f'<text x="{x + 28}" y="42">{escape(text)}</text>'
        x += 48 + 7 * len(text)


def _panel(course: Course, top: float) -> Iterator[str]:
    moments = _sampled(course.moments)
    seconds = course.spike.seconds
    highest = course.spike.base * course.spike.factor * 1.1

    def x(moment: Moment) -> float:
        return _LEFT + moment.at / seconds * (_WIDTH - _LEFT - _RIGHT)

    def y(rate: float) -> float:
        return top + _PANEL - min(rate, highest) / highest * _PANEL

    yield (
        f'<text x="{_LEFT}" y="{top - 6:.1f}" font-weight="600">{escape(course.name)}:'
        f" {course.served:.1%} served</text>"
    )
    yield (
        f'<rect x="{_LEFT}" y="{top:.1f}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_PANEL}"'
        ' fill="none" stroke="#d1d5db"/>'
    )
    for share in (0.0, 0.5, 1.0):
        rate = course.spike.base * course.spike.factor * share
        yield (f'<text x="{_LEFT - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:,.0f}</text>')
    for minute in range(0, int(seconds // 60) + 1, 10):
        at = _LEFT + minute * 60 / seconds * (_WIDTH - _LEFT - _RIGHT)
        yield (
            f'<text x="{at:.1f}" y="{top + _PANEL + 14:.1f}" text-anchor="middle">'
            f"{minute} min</text>"
        )
    for series, dash in ((_SERIES, ""), (_DASHED, ' stroke-dasharray="5 3"')):
        for name, colour, _ in series:
            points = " ".join(f"{x(m):.1f},{y(getattr(m, name)):.1f}" for m in moments)
            yield (
                f'<polyline points="{points}" fill="none" stroke="{colour}"'
                f' stroke-width="1.6"{dash}/>'
            )


def _sampled(moments: Sequence[Moment]) -> Sequence[Moment]:
    step = max(1, len(moments) // _POINTS)
    return moments[::step]
