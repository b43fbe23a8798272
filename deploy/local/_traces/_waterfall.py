"""One trace as a waterfall: a line a span, as a tree, with a bar where it was in time.

Time in which nothing was under way (a user reads between two requests of a journey) is shortened, or
the bars would be dots.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Final

from deploy.local._traces._document import Span
from deploy.local._traces._terminal import (
    BOLD,
    CYAN,
    DIM,
    GREEN,
    RED,
    YELLOW,
    Piece,
    Surface,
    cells,
)
from deploy.local._traces._trace import DRAWN_LEVELS, Mark, Row, Trace, mark_of, title_of

WIDTH_WITHOUT_A_TERMINAL: Final = 110
_MOST_ROWS: Final = 2_000
_MOST_NOTES: Final = 20
_TIME_COLUMNS: Final = 9
_LEAST_BAR: Final = 20
_NARROWEST_WITH_BARS: Final = 64
# Said by the line of the request itself.
_SHOWN_ELSEWHERE: Final = frozenset({"service", "operation", "route"})
COLOURS: Final[dict[Mark | None, str | None]] = {
    "fault": RED,
    "throttle": YELLOW,
    "error": YELLOW,
    None: None,
}


def waterfall(trace: Trace, surface: Surface, *, timezone: tzinfo | None = None) -> list[str]:
    """The lines. None is wider than the surface.

    Args:
        timezone: of the times of day; None: this machine's.
    """
    width = surface.width or WIDTH_WITHOUT_A_TERMINAL
    drawing = _Drawing(trace, surface, width)
    lines = [*_heading(trace, surface, timezone), (), drawing.header()]
    for row in trace.rows[:_MOST_ROWS]:
        lines.append(drawing.row(row))
        lines += drawing.exceptions(row)
    if len(trace.rows) > _MOST_ROWS:
        lines.append(((f"and {len(trace.rows) - _MOST_ROWS} more", DIM),))
    return [surface.line(*pieces, width=width) for pieces in lines]


def duration_text(seconds: float) -> str:
    """At most nine characters: `12.3 ms`, `12.3 s`, `12 h`."""
    if seconds < 9.99995:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 9_999.95 else f"{seconds / 3600:.0f} h"


def time_text(seconds: float, timezone: tzinfo | None) -> str:
    """A time of the clock, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, tz=UTC).astimezone(timezone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}"


class Axis:
    """Where a moment of the trace is on its time axis, from 0 to 1.

    Args:
        busy: periods that do not touch, in order.
    """

    def __init__(self, busy: Sequence[tuple[float, float]]) -> None:
        gaps = [after[0] - before[1] for before, after in pairwise(busy)]
        total = sum(end - start for start, end in busy)
        longest = min(0.03 * total, 0.5 * total / len(gaps)) if gaps and total else 1.0
        self._starts = [start for start, _ in busy]
        self._positions = [0.0]
        cuts = []
        for (start, end), gap in zip(busy, gaps, strict=False):
            after = self._positions[-1] + (end - start)
            if gap > longest:
                cuts.append(after + longest / 2)
            self._positions.append(after + min(gap, longest))
        last_start, last_end = busy[-1]
        self._total = self._positions[-1] + (last_end - last_start)
        # Where time was taken out.
        self.cuts = [cut / self._total for cut in cuts]

    def at(self, moment: float) -> float:
        """The place of a moment within one of the periods."""
        period = max(bisect_right(self._starts, moment) - 1, 0)
        place = self._positions[period] + (moment - self._starts[period])
        return min(max(place / self._total, 0.0), 1.0) if self._total else 0.0


class _Drawing:
    def __init__(self, trace: Trace, surface: Surface, width: int) -> None:
        self._start = trace.start
        self._surface = surface
        self._axis = Axis(trace.busy)
        self._width = width
        self._has_bars = width >= _NARROWEST_WITH_BARS
        blocks = "▏▎▍▌▋▊▉█┊│├└"
        if surface.can_write(blocks):
            self._blocks, self._idle, self._guides = blocks[:8], "┊", ("│ ", "├ ", "└ ")
        else:
            self._blocks, self._idle, self._guides = "#", ":", ("| ", "+ ", "` ")
        rest = 2 * (_TIME_COLUMNS + 1) + 2
        room = width - rest - (max(_LEAST_BAR, 3 * width // 10) if self._has_bars else 0)
        rows = trace.rows[:_MOST_ROWS]
        # No wider than needed: what is left is the bars'.
        self._name_width = max(10, min(room, max(cells(self._whole_name(row)) for row in rows)))
        self._bar_width = max(1, width - self._name_width - rest)
        is_legible = 0 < len(self._axis.cuts) <= self._bar_width // 4
        self._has_cuts = self._has_bars and is_legible

    def header(self) -> tuple[Piece, ...]:
        columns = f"{'start':>{_TIME_COLUMNS + 1}}{'took':>{_TIME_COLUMNS + 1}}"
        legend = f"  {self._idle} nothing to do" if self._has_cuts else ""
        return ((" " * self._name_width + columns + legend, DIM),)

    def row(self, row: Row) -> tuple[Piece, ...]:
        span = row.span
        colour = COLOURS[mark_of(span)]
        prefix = self._prefix(row, self._guides)
        notes = self._notes(row)
        room = self._name_width - cells(prefix) - cells(notes)
        label = self._surface.cut(self._label(span), max(room, 0))
        taken = cells(prefix) + cells(label) + cells(notes)
        took = "" if span.end is None else duration_text(span.end - span.start)
        times = (
            " " * max(self._name_width - taken, 0)
            + f"{duration_text(span.start - self._start):>{_TIME_COLUMNS + 1}}"
            + f"{took:>{_TIME_COLUMNS + 1}}"
        )
        pieces: list[Piece] = [
            (prefix, DIM),
            (label, BOLD if span.is_segment else None),
            (notes, colour),
            (times, None),
        ]
        if self._has_bars:
            if colour is None:
                colour = GREEN if span.is_segment else CYAN if span.namespace == "aws" else None
            pieces += [("  ", None), (self._bar(row), colour)]
        return tuple(pieces)

    def exceptions(self, row: Row) -> Iterator[tuple[Piece, ...]]:
        indent = self._prefix(row, (self._guides[0], self._guides[0], "  ")) + "  "
        for number, exception in enumerate(row.span.exceptions):
            clean = self._surface.clean
            place = f" ({clean(exception.place)})" if exception.place else ""
            message = f": {clean(exception.message)}" if exception.message else ""
            yield (
                (indent, DIM),
                ("" if number == 0 else "caused by ", DIM),
                (clean(exception.type), RED),
                (message, None),
                (place, DIM),
            )

    def _prefix(self, row: Row, guides: tuple[str, ...]) -> str:
        beside, branch, last = guides
        levels = row.branches[-min(DRAWN_LEVELS, max(self._width // 8, 1)) :]
        if not levels:
            return ""
        above = "".join(beside if goes_on else "  " for goes_on in levels[:-1])
        return above + (branch if levels[-1] else last)

    def _whole_name(self, row: Row) -> str:
        return self._prefix(row, self._guides) + self._label(row.span) + self._notes(row)

    def _label(self, span: Span) -> str:
        if span.is_segment:
            title = title_of(span)
            label = span.name if title == span.name else f"{span.name} {title}"
        elif span.namespace == "aws":
            label = " ".join(filter(None, (span.name, span.operation, span.resource)))
        elif span.namespace == "remote" and span.url:
            label = f"{span.method or ''} {span.url}".strip()
        else:
            label = span.name
        return self._surface.clean(label)

    def _notes(self, row: Row) -> str:
        span, mark = row.span, mark_of(row.span)
        notes = []
        if span.status is not None and (span.is_segment or mark is not None or span.status >= 400):
            notes.append(str(span.status))
        if mark is not None:
            notes.append(mark)
        if span.retries:
            notes.append("1 retry" if span.retries == 1 else f"{span.retries} retries")
        if span.end is None:
            notes.append("in progress")
        if row.is_orphan:
            notes.append("without its parent")
        return "".join(f" {note}" for note in notes)

    def _bar(self, row: Row) -> str:
        width = self._bar_width
        columns = [" "] * width
        if self._has_cuts:
            for cut in self._axis.cuts:
                columns[min(int(cut * width), width - 1)] = self._idle
        first = min(int(self._axis.at(row.span.start) * width), width - 1)
        length = min(self._axis.at(row.end) * width - first, width - first)
        parts = len(self._blocks)
        whole, part = divmod(max(int(length * parts), 1), parts)
        columns[first : first + whole] = self._blocks[-1] * whole
        if part:
            columns[first + whole] = self._blocks[part - 1]
        return "".join(columns)


def _heading(
    trace: Trace, surface: Surface, timezone: tzinfo | None
) -> Iterator[tuple[Piece, ...]]:
    requests, spans = len(trace.segments), len(trace.rows)
    facts = [
        time_text(trace.start, timezone),
        duration_text(trace.duration),
        _counted(requests, "request"),
        _counted(trace.calls, "call"),
        _counted(spans, "span"),
    ]
    yield (("Trace ", None), (trace.trace_id, BOLD))
    yield (("  ".join(facts), None),)
    notes: dict[str, dict[str, None]] = {}
    for span in (row.span for row in trace.rows):
        if span.user:
            notes.setdefault("user", {})[span.user] = None
        for key, value in span.annotations.items():
            if key not in _SHOWN_ELSEWHERE:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                notes.setdefault(key, {})[text] = None
    for key, values in list(notes.items())[:_MOST_NOTES]:
        shown = ", ".join(surface.clean(value) for value in list(values)[:_MOST_NOTES])
        yield ((surface.clean(key) + " ", DIM), (shown, None))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
