"""Metadata of ready content, remembered in this process for a few seconds.

Keeps a popular video from reading the same row thousands of times a second. It answers only for
ready content: what is missing, pending or failed is read each time, so that new content appears at
once; a deletion appears within the bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from services.content_delivery.domain.content import Content, ContentStatus
from services.content_delivery.domain.repository import ContentReader


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Reads that were and were not answered from the cache since it was made, its size now, and how
    old what it answered was, all answers together."""

    hits: int
    misses: int
    entries: int
    hit_age_seconds: float = 0.0


class CachedContents:
    """A `ContentReader` in front of another, bounded in age and in number."""

    def __init__(
        self,
        contents: ContentReader,
        *,
        maximum_age_seconds: float,
        maximum_entries: int,
        monotonic: Callable[[], float],
    ) -> None:
        """``monotonic`` gives seconds of a clock that never goes back. An age of 0 caches nothing."""
        self._contents = contents
        self._maximum_age = maximum_age_seconds
        self._maximum_entries = maximum_entries
        self._monotonic = monotonic
        self._entries: OrderedDict[str, tuple[float, Content]] = OrderedDict()
        self._hits = 0
        self._misses = 0
        self._hit_age = 0.0

    def statistics(self) -> CacheStatistics:
        """How the cache is doing."""
        return CacheStatistics(self._hits, self._misses, len(self._entries), self._hit_age)

    async def get(self, content_id: str) -> Content | None:
        """As `ContentReader.get`, but what is ready may be up to ``maximum_age_seconds`` old."""
        # The age counts from before the read: a deletion that the read just missed is then still
        # seen within the bound.
        asked_at = self._monotonic()
        entry = self._entries.get(content_id)
        if entry is not None and asked_at - entry[0] < self._maximum_age:
            self._entries.move_to_end(content_id)
            self._hits += 1
            self._hit_age += asked_at - entry[0]
            return entry[1]
        self._misses += 1
        content = await self._contents.get(content_id)
        self._remember(content_id, asked_at, content)
        return content

    def _remember(self, content_id: str, asked_at: float, content: Content | None) -> None:
        known = self._entries.get(content_id)
        if known is not None and known[0] > asked_at:
            return  # a read that began later has answered first
        if content is None or content.status is not ContentStatus.READY or not self._maximum_age:
            self._entries.pop(content_id, None)
            return
        self._entries[content_id] = (asked_at, content)
        self._entries.move_to_end(content_id)
        while len(self._entries) > self._maximum_entries:
            self._entries.popitem(last=False)
