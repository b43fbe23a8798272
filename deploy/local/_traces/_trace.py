"""A trace: what its documents say together, in the order in which it is read.

Documents come from several processes with several clocks, in any order, and some do not come. So
nothing is assumed of them: a span whose parent is not there stands by itself, one that begins before
its parent is drawn where it was, spans that are under each other are cut apart, and each id is there
once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from deploy.local._traces._document import (
    Document,
    MalformedError,
    Span,
    parse_json,
    spans_of,
)

Mark = Literal["fault", "throttle", "error"]

# Levels of a tree that are drawn; what is deeper is drawn as deep as that.
DRAWN_LEVELS: Final = 12
_CALLS: Final = frozenset({"aws", "remote"})
_SEVERITY: Final[Mapping[Mark | None, int]] = {None: 0, "error": 1, "throttle": 2, "fault": 3}


@dataclass(frozen=True, slots=True)
class Row:
    """A span in its place.

    Args:
        end: where it ends in a drawing: in progress, the last that is known of it.
        branches: for each level above, whether it goes on below; the span's own level last. The
            innermost `DRAWN_LEVELS`.
        is_orphan: a part whose whole did not come.
    """

    span: Span
    end: float
    depth: int
    branches: tuple[bool, ...]
    is_orphan: bool


class Trace:
    """The trace of this id.

    Args:
        spans: at least one; of two with the same id the finished one counts, else the first.
        documents: where they were read from.
    """

    def __init__(
        self, trace_id: str, spans: Iterable[Span], documents: Sequence[Document] = ()
    ) -> None:
        self.trace_id = trace_id
        self.documents = documents
        by_id: dict[str, Span] = {}
        for span in spans:
            known = by_id.get(span.span_id)
            if known is None or (known.end is None and span.end is not None):
                by_id[span.span_id] = span
        self.rows = _rows(by_id)
        self.segments = [row.span for row in self.rows if row.span.is_segment]
        self.start = min(row.span.start for row in self.rows)
        self.end = max(row.end for row in self.rows)

    @cached_property
    def busy(self) -> list[tuple[float, float]]:
        """When something was under way: periods that do not touch, in order."""
        periods: list[tuple[float, float]] = []
        for start, end in sorted((row.span.start, row.end) for row in self.rows):
            if periods and start <= periods[-1][1]:
                periods[-1] = periods[-1][0], max(end, periods[-1][1])
            else:
                periods.append((start, end))
        return periods

    @cached_property
    def duration(self) -> float:
        """Seconds in which something was under way. What a user waits between the requests of a
        journey is no part of it."""
        return sum(end - start for start, end in self.busy)

    @property
    def title(self) -> str:
        """What was asked for first."""
        return title_of(self.segments[0] if self.segments else self.rows[0].span)

    @property
    def titles(self) -> list[str]:
        """What was asked for, in order."""
        return [title_of(span) for span in self.segments]

    @property
    def services(self) -> list[str]:
        """Who answered, each once, in order."""
        return list(dict.fromkeys(span.name for span in self.segments))

    @property
    def calls(self) -> int:
        """How many calls of AWS and of other services there were."""
        return sum(row.span.namespace in _CALLS for row in self.rows)

    @property
    def status(self) -> int | None:
        """The HTTP status of the request that went worst."""
        worst = max(self.segments, key=_how_bad, default=None)
        return worst.status if worst else None

    @property
    def mark(self) -> Mark | None:
        """The worst of its requests' marks."""
        return max(map(mark_of, self.segments), key=_SEVERITY.__getitem__, default=None)

    @property
    def has_failed(self) -> bool:
        """Whether a request failed, or a call with a fault or for going too fast.

        The error of a call is not enough: a condition that does not hold is one, and no failure.
        """
        return any(
            mark_of(row.span) is not None
            if row.span.is_segment
            else mark_of(row.span) in ("fault", "throttle")
            for row in self.rows
        )


def read_trace(trace_id: str, lines: Iterable[bytes]) -> Trace | None:
    """The trace of these lines of the log; None where none of them can be read."""
    documents: list[Document] = []
    spans: list[Span] = []
    for line in lines:
        try:
            document = parse_json(line)
            if isinstance(document, dict):
                spans += spans_of(document)
                documents.append(document)
        except MalformedError:  # not ours; or of which only a part could be written
            continue
    return Trace(trace_id, spans, documents) if spans else None


def mark_of(span: Span) -> Mark | None:
    """The worst of its marks; of a request also by its status."""
    if span.fault:
        return "fault"
    if span.throttle:
        return "throttle"
    if span.error:
        return "error"
    if span.is_segment and span.status is not None and span.status >= 400:
        return "fault" if span.status >= 500 else "error"
    return None


def title_of(span: Span) -> str:
    """What a request asked for: `GET /courses/{courseId}`; else the span's name."""
    operation = span.annotations.get("operation")
    if isinstance(operation, str) and operation:
        return operation
    if span.is_segment and span.method and span.url:
        return f"{span.method} {span.url}"
    return span.name


def _how_bad(span: Span) -> tuple[int, int]:
    return _SEVERITY[mark_of(span)], span.status or 0


def _rows(spans: Mapping[str, Span]) -> list[Row]:
    placed = list(_placed(spans))
    ends: dict[str, float] = {}
    rows = []
    # From the leaves up, so that what is in progress reaches as far as what is under it.
    for span, depth, branches in reversed(placed):
        known = max(ends.get(span.span_id, 0.0), span.start)
        end = known if span.end is None else span.end
        if span.parent_id is not None:
            ends[span.parent_id] = max(ends.get(span.parent_id, 0.0), end)
        is_orphan = not span.is_segment and span.parent_id not in spans
        rows.append(Row(span, end, depth, branches, is_orphan))
    return rows[::-1]


def _placed(spans: Mapping[str, Span]) -> Iterator[tuple[Span, int, tuple[bool, ...]]]:
    """Each span once, parents first, with its depth and its branches."""
    children: dict[str, list[Span]] = defaultdict(list)
    roots = []
    in_order = sorted(spans.values(), key=lambda span: (span.start, span.span_id))
    for span in in_order:
        if span.parent_id is not None and span.parent_id in spans:
            children[span.parent_id].append(span)
        else:
            roots.append(span)
    seen: set[str] = set()
    # After the roots only those are left that are under each other; the first of them leads.
    for root in [*roots, *in_order]:
        pending: list[tuple[Span, int, tuple[bool, ...]]] = [(root, 0, ())]
        while pending:
            span, depth, branches = pending.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            yield span, depth, branches
            below = children[span.span_id]
            for child in reversed(below):
                goes_on = child is not below[-1]
                pending.append((child, depth + 1, (*branches, goes_on)[-DRAWN_LEVELS:]))
