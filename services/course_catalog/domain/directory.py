"""The directory: every course's summary in memory, in every order and under every filter.

Owns the answer to "which courses, from where, how many" without input or output. Where summaries
come from and how often is `directory_refresh`'s business; what they look like to a client is the
given `pack` and `unpack`'s. Synchronous throughout, so that a page is always cut from one state.

Sized for 100,000 courses: a summary is kept once, packed; orders and filters are arrays of slot
numbers (four bytes a course), searched by bisection, so that a page costs the same at any depth.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from sys import intern

from services.course_catalog.domain.course import Change, Level, Status, Summary, Tombstone
from services.course_catalog.domain.search import fold, query_words, words
from services.course_catalog.domain.word_index import Bits, WordIndex

# Of so many times `few` recent changes a set is made: it costs less than to look at each course that
# a walk meets, as long as most of them did not change.
_RECENT = 20
# Inserting one slot into an order costs about as much as sorting so many that are nearly sorted.
_INSERTION_COST = 20
# A sort key must fit into a cursor; what is equal so far is ordered by id.
_TITLE_KEY_LENGTH = 64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

SortValue = int | str
SortKey = tuple[SortValue, str]


class Sort(StrEnum):
    """The orders of a listing; ties are ordered by id."""

    OLDEST = "publishedAt"
    NEWEST = "-publishedAt"
    TITLE = "title"
    TITLE_DESCENDING = "-title"
    LEAST_RECENTLY_UPDATED = "updatedAt"
    MOST_RECENTLY_UPDATED = "-updatedAt"

    @property
    def descending(self) -> bool:
        return self.value.startswith("-")

    @property
    def field(self) -> str:
        """What is compared: publishedAt, title or updatedAt."""
        return self.value.removeprefix("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which courses, in which order. None means: no matter."""

    status: Status = Status.PUBLISHED
    q: str | None = None
    tag: str | None = None
    level: Level | None = None
    language: str | None = None
    updated_since: datetime | None = None
    ids: frozenset[str] | None = None
    sort: Sort = Sort.NEWEST


@dataclass(frozen=True, slots=True)
class Page:
    """Rendered summaries, and the key of the last one where more follow."""

    items: Sequence[bytes]
    resume_after: SortKey | None


@dataclass(slots=True)
class _Entry:
    """A course as the directory keeps it. `published` and `updated` are milliseconds."""

    id: str
    version: int
    status: Status
    published: int
    updated: int
    title: str
    facets: tuple[str, ...]
    packed: bytes


class Directory:
    """Summaries of courses in every status, found by id, filter, words and order."""

    def __init__(
        self,
        pack: Callable[[Summary], bytes],
        unpack: Callable[[bytes], bytes] = bytes,
        *,
        few: int = 600,
        common: int = 1_024,
        compact_at: int = 2_048,
    ) -> None:
        """`pack` gives what is kept of a summary, `unpack` makes of it what a page shows. `few`: up to so many candidates are picked and sorted, more are met while walking along
        an order. `common`: with more courses than this, a word is a bitmap as soon as it comes.
        `compact_at`: after so many courses applied the index is compacted."""
        self._pack = pack
        self._unpack = unpack
        self._few_at_most = few
        self._slots: dict[str, int] = {}
        self._entries: list[_Entry | None] = []
        self._free: list[int] = []
        self._retired: set[int] = set()
        self._shelves: dict[str, _Shelf] = {}
        self._compact_at = compact_at
        self._revision = 0
        self._index = WordIndex(few=few, common=common, large=8 * compact_at)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def revision(self) -> int:
        """Another number after each change of what a page could show."""
        return self._revision

    def status(self, course_id: str) -> Status | None:
        """The status of a known course, None for one that is not known."""
        slot = self._slots.get(course_id)
        return None if slot is None else self._entry(slot).status

    def apply(self, change: Change) -> bool:
        """Take in what happened to one course; whether it was news.

        What is as old as what is known, or older, changes nothing: changes may come in any order
        and any number of times.
        """
        slot = self._slots.get(change.id)
        if slot is not None:
            if change.version <= self._entry(slot).version:
                return False
            self._remove(slot)
        elif isinstance(change, Tombstone):
            return False
        if isinstance(change, Summary):
            self._add(change)
        return True

    def settle(self) -> Iterator[None]:
        """Put what was applied into order, a part at each step, so that no page has to."""
        yield from self._index.seal(at=self._compact_at // 8)
        for shelf in list(self._shelves.values()):
            shelf.settle()
            yield
        if len(self._retired) > max(self._few_at_most, len(self._slots) // 4):
            retired = frozenset(self._retired)
            yield from self._index.purge(retired)
            self._retired -= retired
            self._free += retired

    def compact(self) -> Iterator[None]:
        """Let many courses applied one after another take little memory, a part at each step."""
        yield from self._index.seal(at=self._compact_at)

    def retain(self, ids: set[str]) -> int:
        """Forget every course but these; how many that were."""
        gone = [slot for course_id, slot in self._slots.items() if course_id not in ids]
        for slot in gone:
            self._remove(slot)
        return len(gone)

    def page(self, query: Query, *, limit: int, after: SortKey | None = None) -> Page:
        """At most `limit` courses that match, beginning after the sort key `after`.

        A course that has gone meanwhile still marks a place: only its key counts.
        """
        slots: list[int] = []
        resume_after = None
        for slot in self._matching(query, after):
            if len(slots) == limit:
                resume_after = _key_of(query.sort)(self._entry(slots[-1]))
                break
            slots.append(slot)
        return Page([self._unpack(self._entry(found).packed) for found in slots], resume_after)

    def _matching(self, query: Query, after: SortKey | None) -> Iterator[int]:
        facets = _query_facets(query)
        shelves = [self._shelves.get(facet) for facet in facets]
        if None in shelves:
            return iter(())
        shelf = min((shelf for shelf in shelves if shelf is not None), key=len)
        since = None if query.updated_since is None else _ceil_milliseconds(query.updated_since)
        candidates = self._candidates(query, shelf, since)

        def matches(slot: int) -> bool:
            entry = self._entry(slot)
            return (since is None or entry.updated >= since) and all(
                facet in entry.facets for facet in facets
            )

        key = _key_of(query.sort)
        if isinstance(candidates, set) and len(candidates) <= self._few_at_most:
            return self._few(filter(matches, candidates), query.sort, after)
        order = shelf.order(query.sort.field)

        def slot_key(slot: int) -> SortKey:
            return key(self._entry(slot))

        if query.sort.descending:
            end = len(order) if after is None else bisect_left(order, after, key=slot_key)
            walk: Iterable[int] = (order[place] for place in range(end - 1, -1, -1))
        else:
            begin = 0 if after is None else bisect_right(order, after, key=slot_key)
            walk = (order[place] for place in range(begin, len(order)))
        if candidates is not None:
            walk = filter(candidates.__contains__, walk)  # much faster than any look at an entry
        if len(facets) == 1 and since is None:
            return iter(walk)  # the shelf holds nothing else
        return filter(matches, walk)

    def _few(self, slots: Iterable[int], sort: Sort, after: SortKey | None) -> Iterator[int]:
        key = _key_of(sort)
        keyed = ((key(self._entry(slot)), slot) for slot in slots)
        if sort.descending:
            found = sorted(
                (pair for pair in keyed if after is None or pair[0] < after), reverse=True
            )
        else:
            found = sorted(pair for pair in keyed if after is None or pair[0] > after)
        return (slot for _, slot in found)

    def _candidates(self, query: Query, shelf: _Shelf, since: int | None) -> set[int] | Bits | None:
        """The slots that words, ids or a recent change narrow the search to, None for all."""
        found: set[int] | Bits | None = None
        if query.q is not None:
            found = self._index.search(sorted(query_words(query.q)))
        if query.ids is not None:
            named = {self._slots[known] for known in query.ids if known in self._slots}
            return named if found is None else {slot for slot in named if slot in found}
        if found is None and since is not None:
            order = shelf.order("updatedAt")
            begin = bisect_left(order, since, key=lambda slot: self._entry(slot).updated)
            if len(order) - begin <= self._few_at_most * _RECENT:
                return set(order[begin:])
        if isinstance(found, set):
            found -= self._retired
        return found

    def _entry(self, slot: int) -> _Entry:
        entry = self._entries[slot]
        assert entry is not None
        return entry

    def _add(self, summary: Summary) -> None:
        self._revision += 1
        entry = _entry_of(summary, self._pack(summary))
        if self._free:
            slot = self._free.pop()
            self._entries[slot] = entry
        else:
            slot = len(self._entries)
            self._entries.append(entry)
        self._slots[entry.id] = slot
        for facet in entry.facets:
            shelf = self._shelves.get(facet)
            if shelf is None:
                shelf = self._shelves[facet] = _Shelf(self._entry)
            shelf.add(slot)
        self._index.add(slot, _searched_words(summary))

    def _remove(self, slot: int) -> None:
        self._revision += 1
        entry = self._entry(slot)
        for facet in entry.facets:
            shelf = self._shelves[facet]
            shelf.remove(slot)
            if not shelf:
                del self._shelves[facet]
        del self._slots[entry.id]
        self._entries[slot] = None
        # Which words lead to the slot is not kept, that would be a fifth of all memory: a retired
        # slot stays in the index, is left out of what is found, and is purged with many others.
        self._retired.add(slot)


class _Shelf:
    """The slots of the courses that share a facet, in each of the three orders, ascending.

    A new slot waits until an order is asked for: putting a whole catalog in place one by one would
    take minutes, sorting it once takes a second.
    """

    __slots__ = ("_entry", "_orders", "_waiting")

    def __init__(self, entry: Callable[[int], _Entry]) -> None:
        self._entry = entry
        self._orders = {field: array("I") for field in _KEYS}
        self._waiting = array("I")

    def __len__(self) -> int:
        return len(self._orders["title"]) + len(self._waiting)

    def order(self, field: str) -> array[int]:
        self.settle()
        return self._orders[field]

    def add(self, slot: int) -> None:
        self._waiting.append(slot)

    def remove(self, slot: int) -> None:
        self.settle()
        for field, order in self._orders.items():
            key = self._key(field)
            del order[bisect_left(order, key(slot), key=key)]

    def settle(self) -> None:
        if not self._waiting:
            return
        sort_whole = len(self._waiting) * _INSERTION_COST > len(self)
        for field, order in self._orders.items():
            key = self._key(field)
            if sort_whole:
                self._orders[field] = array("I", sorted([*order, *self._waiting], key=key))
            else:
                for slot in self._waiting:
                    insort(order, slot, key=key)
        self._waiting = array("I")

    def _key(self, field: str) -> Callable[[int], SortKey]:
        key, entry = _KEYS[field], self._entry
        return lambda slot: key(entry(slot))


_KEYS: dict[str, Callable[[_Entry], SortKey]] = {
    "publishedAt": lambda entry: (entry.published, entry.id),
    "title": lambda entry: (entry.title, entry.id),
    "updatedAt": lambda entry: (entry.updated, entry.id),
}


def _key_of(sort: Sort) -> Callable[[_Entry], SortKey]:
    return _KEYS[sort.field]


def _entry_of(summary: Summary, packed: bytes) -> _Entry:
    return _Entry(
        id=summary.id,
        version=summary.version,
        status=summary.status,
        published=_milliseconds(summary.published_at or summary.created_at),
        updated=_milliseconds(summary.updated_at),
        title=fold(summary.title)[:_TITLE_KEY_LENGTH],
        facets=tuple(_facets(summary)),
        packed=packed,
    )


def _searched_words(summary: Summary) -> frozenset[str]:
    return words(" ".join((summary.title, summary.short_description, *summary.tags))).union(
        summary.description_words
    )


def _facets(summary: Summary) -> Iterator[str]:
    yield intern(f"status:{summary.status}")
    yield intern(f"level:{summary.level}")
    # A tag is found by each of its beginnings (RFC 4647, 3.3.1): en-GB by en.
    subtags = summary.language.lower().split("-")
    for length in range(1, len(subtags) + 1):
        yield intern(f"language:{'-'.join(subtags[:length])}")
    yield from {intern(f"tag:{fold(tag)}") for tag in summary.tags}


def _query_facets(query: Query) -> list[str]:
    facets = [f"status:{query.status}"]
    if query.level is not None:
        facets.append(f"level:{query.level}")
    if query.language is not None:
        facets.append(f"language:{query.language.lower()}")
    if query.tag is not None:
        facets.append(f"tag:{fold(query.tag)}")
    return facets


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


def _ceil_milliseconds(instant: datetime) -> int:
    return -((_EPOCH - instant) // _MILLISECOND)
