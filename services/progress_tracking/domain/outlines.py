"""The outlines this process has at hand, so that a page of courses needs no further look-ups.

An outline is shared by all learners of a course and changes rarely; it is remembered for some
seconds, and so is that a course has none yet. Concurrent requests for the same missing outlines
may both read them: the reads are small and few.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from services.progress_tracking.domain.outline import Outline


class OutlineReader(Protocol):
    """Where outlines are read when they are not at hand."""

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """The outlines that are known of these courses."""


@dataclass(frozen=True, slots=True)
class OutlineStatistics:
    """Courses whose outline was and was not at hand since the start, how many are kept now, and how
    old what was at hand was, all together."""

    hits: int
    misses: int
    entries: int
    hit_age_seconds: float = 0.0


class KnownOutlines:
    """Outlines by course, bounded in age and in number."""

    def __init__(
        self,
        reader: OutlineReader,
        *,
        maximum_age_seconds: float,
        maximum_entries: int,
        monotonic: Callable[[], float],
    ) -> None:
        """`monotonic` gives seconds of a clock that never goes back. An age of 0 keeps nothing."""
        self._reader = reader
        self._maximum_age = maximum_age_seconds
        self._maximum_entries = maximum_entries
        self._monotonic = monotonic
        self._entries: OrderedDict[str, tuple[float, Outline | None]] = OrderedDict()
        self._hits = 0
        self._misses = 0
        self._hit_age = 0.0

    def statistics(self) -> OutlineStatistics:
        """How often reading was saved."""
        return OutlineStatistics(self._hits, self._misses, len(self._entries), self._hit_age)

    async def one(self, course_id: str) -> Outline | None:
        """The outline of a course, None while it is unknown."""
        return (await self.many([course_id])).get(course_id)

    async def many(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """The outlines that are known of these courses, at most `maximum_age_seconds` old."""
        asked_at = self._monotonic()
        found: dict[str, Outline] = {}
        missing: list[str] = []
        for course_id in course_ids:
            entry = self._entries.get(course_id)
            if entry is None or asked_at - entry[0] >= self._maximum_age:
                missing.append(course_id)
                continue
            self._hit_age += asked_at - entry[0]
            if entry[1] is not None:
                found[course_id] = entry[1]
        self._hits += len(course_ids) - len(missing)
        self._misses += len(missing)
        if missing:
            read = await self._reader.read_outlines(missing)
            for course_id in missing:
                outline = self._newest(course_id, read.get(course_id))
                if outline is not None:
                    found[course_id] = outline
                self._remember(course_id, asked_at, outline)
        return found

    def _newest(self, course_id: str, read: Outline | None) -> Outline | None:
        """Never an older version than one shown before: reads of the store may lag."""
        entry = self._entries.get(course_id)
        known = entry[1] if entry is not None else None
        if known is not None and (read is None or read.version < known.version):
            return known
        return read

    def _remember(self, course_id: str, asked_at: float, outline: Outline | None) -> None:
        if not self._maximum_age:
            return
        self._entries[course_id] = (asked_at, outline)
        self._entries.move_to_end(course_id)
        while len(self._entries) > self._maximum_entries:
            self._entries.popitem(last=False)
