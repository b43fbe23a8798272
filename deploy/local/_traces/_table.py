"""The last traces as a table, a line each. What does not fit a terminal is shortened or left out;
a pipe gets all of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import tzinfo
from itertools import pairwise
from typing import Final

from deploy.local._traces._terminal import DIM, Piece, Surface, cells, padded
from deploy.local._traces._trace import Trace
from deploy.local._traces._waterfall import COLOURS, duration_text, time_text

_HEADINGS: Final = ("time", "took", "status", "request", "services", "calls", "trace")
_TIME, _TOOK, _STATUS, _REQUEST, _SERVICES, _CALLS, _ID = range(7)
_TO_THE_RIGHT: Final = frozenset({_TOOK, _STATUS, _CALLS})
_SHORTEST_REQUEST: Final = 24
# "1-", eight digits of time, "-" and four more.
_SHORTEST_ID: Final = 15


def table(
    traces: Sequence[Trace],
    surface: Surface,
    *,
    known_ids: Collection[str],
    timezone: tzinfo | None = None,
) -> list[str]:
    """The lines, the heading first.

    Args:
        known_ids: of all traces: an id that has to be shortened is still the only one of its kind.
        timezone: of the times of day; None: this machine's.
    """
    ids = [trace.trace_id for trace in traces]
    columns = [
        [time_text(trace.start, timezone) for trace in traces],
        [duration_text(trace.duration) for trace in traces],
        [_status(trace) for trace in traces],
        [_request(trace, surface) for trace in traces],
        [surface.clean(", ".join(trace.services) or "-") for trace in traces],
        [str(trace.calls) for trace in traces],
        ids,
    ]
    widths = [_width(heading, column) for heading, column in zip(_HEADINGS, columns, strict=True)]
    shown = list(range(len(columns)))
    if surface.width is not None:
        _fit(surface.width, columns, widths, shown, known_ids, surface)
    lines = [surface.line(*_pieces([_HEADINGS[column] for column in shown], shown, widths, DIM))]
    for row, trace in enumerate(traces):
        texts = [columns[column][row] for column in shown]
        lines.append(surface.line(*_pieces(texts, shown, widths, None, COLOURS[trace.mark])))
    return lines


def unique_length(ids: Sequence[str], known_ids: Collection[str]) -> int:
    """How many characters of these ids tell each of them from every other that is known."""
    in_order = sorted({*ids, *known_ids})
    wanted = set(ids)
    length = _SHORTEST_ID
    for one, other in pairwise(in_order):
        if one in wanted or other in wanted:
            same = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
            length = max(length, same + 1)
    return length


def _fit(
    width: int,
    columns: list[list[str]],
    widths: list[int],
    shown: list[int],
    known_ids: Collection[str],
    surface: Surface,
) -> None:
    """Shortens and leaves out until a line fits, what is missed least first."""

    def replace(column: int, texts: list[str]) -> None:
        columns[column] = texts
        widths[column] = _width(_HEADINGS[column], texts)

    def too_wide() -> int:
        return sum(widths[column] + 2 for column in shown) - 2 - width

    if too_wide() > 0:
        replace(_TIME, [text.partition(" ")[2].partition(".")[0] for text in columns[_TIME]])
    if too_wide() > 0:
        length = unique_length(columns[_ID], known_ids)
        replace(_ID, [trace_id[:length] for trace_id in columns[_ID]])
    for column in (_SERVICES, _CALLS):
        if too_wide() > max(widths[_REQUEST] - _SHORTEST_REQUEST, 0):
            shown.remove(column)
    if too_wide() > 0:
        room = max(widths[_REQUEST] - too_wide(), 8)
        replace(_REQUEST, [surface.cut(text, room) for text in columns[_REQUEST]])


def _pieces(
    texts: Sequence[str],
    shown: Sequence[int],
    widths: Sequence[int],
    colour: str | None,
    status_colour: str | None = None,
) -> list[Piece]:
    pieces: list[Piece] = []
    for column, text in zip(shown, texts, strict=True):
        width = widths[column]
        text = text.rjust(width) if column in _TO_THE_RIGHT else padded(text, width)
        pieces.append((text, status_colour or colour if column == _STATUS else colour))
        pieces.append(("  ", None))
    return pieces


def _width(heading: str, texts: Sequence[str]) -> int:
    return max(cells(heading), *map(cells, texts), 0)


def _status(trace: Trace) -> str:
    if trace.status is not None:
        return str(trace.status)
    if any(span.end is None for span in trace.segments):
        return "open"
    return trace.mark or "-"


def _request(trace: Trace, surface: Surface) -> str:
    others = len(trace.segments) - 1
    return surface.clean(trace.title) + (f" +{others}" if others > 0 else "")
