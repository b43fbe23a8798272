"""Pages of the listing that were worked out already, kept for one state of the directory.

Owns how much is kept and until when. Who may see a page, and how old the directory is, the handler
says anew each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

# A question that no client of ours asks in as many characters is not worth the memory.
_LONGEST_QUESTION = 1_024


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page as it is sent. `link` leads to the next one, None where none follows; `for_writers`:
    it shows what only who may write courses may see."""

    body: bytes
    etag: str
    link: str | None
    for_writers: bool


@dataclass(frozen=True, slots=True)
class RenderedPagesStatistics:
    """How often a page was there already since the start, and what is kept now."""

    hits: int
    entries: int
    bytes: int


class RenderedPages:
    """Pages by the query as it was sent, all of one state of the directory: with the first that is
    asked for or kept after a change all others go.

    `revision` numbers the directory's states. `max_bytes` bounds the sum of the bodies and of the
    queries (the least recently used goes first); 0 keeps none.
    """

    def __init__(self, *, revision: Callable[[], int], max_bytes: int) -> None:
        self._current_revision = revision
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, RenderedPage] = OrderedDict()
        self._revision = revision()
        self._bytes = 0
        self._hits = 0

    def statistics(self) -> RenderedPagesStatistics:
        """What was kept, and how often it was asked for."""
        self._drop_what_is_of_another_state()
        return RenderedPagesStatistics(self._hits, len(self._kept), self._bytes)

    def get(self, query: str) -> RenderedPage | None:
        """The page that `query` (the part of the URL, as it was sent) shows, if it is kept."""
        self._drop_what_is_of_another_state()
        page = self._kept.get(query)
        if page is not None:
            self._kept.move_to_end(query)
            self._hits += 1
        return page

    def keep(self, query: str, page: RenderedPage) -> None:
        """Keep what was cut from the directory as it is at this moment."""
        self._drop_what_is_of_another_state()
        if len(query) > _LONGEST_QUESTION:
            return
        before = self._kept.pop(query, None)
        if before is not None:
            self._bytes -= _size(query, before)
        self._kept[query] = page
        self._bytes += _size(query, page)
        while self._bytes > self._max_bytes:
            oldest, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(oldest, dropped)

    def _drop_what_is_of_another_state(self) -> None:
        revision = self._current_revision()
        if revision != self._revision:
            self._revision = revision
            self._kept.clear()
            self._bytes = 0


def _size(query: str, page: RenderedPage) -> int:
    return len(query) + len(page.body) + len(page.link or "")
