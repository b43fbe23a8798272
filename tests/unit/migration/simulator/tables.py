"""DynamoDB tables and their streams in memory, as far as the migration depends on them.

Owns what is true: items, conditions, the order of a scan, shards and their records. Everything here
is atomic and immediate; `clients.py` makes calls of it that take time and fail.
"""

from __future__ import annotations

import random
import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from deploy.migration._items import MARK, AttributeValue, Item
from deploy.migration._ports import (
    AllOf,
    AnyOf,
    Batch,
    Change,
    Condition,
    ConditionFailed,
    Equal,
    IteratorExpired,
    Less,
    Missing,
    Page,
    Path,
    Present,
    Shard,
    ShardPage,
    Trimmed,
)
from deploy.migration.mapping import Cell, Table

HASHES = 2**32
RETENTION_SECONDS = 24 * 3600.0
ITERATOR_SECONDS = 300.0
SHARDS_PER_PAGE = 3


def hash_of(partition: str) -> int:
    return zlib.crc32(partition.encode())


def holds(condition: Condition, item: Item | None) -> bool:
    """As DynamoDB evaluates it: comparing with what is not there is false."""
    match condition:
        case Missing(path):
            return _at(item, path) is None
        case Present(path):
            return _at(item, path) is not None
        case Equal(path, value):
            found = _at(item, path)
            return found is not None and _comparable(found) == _comparable(value)
        case Less(path, value):
            found = _at(item, path)
            if found is None or found.keys() != value.keys():
                return False
            less: bool = _comparable(found) < _comparable(value)
            return less
        case AllOf(conditions):
            return all(holds(each, item) for each in conditions)
        case AnyOf(conditions):
            return any(holds(each, item) for each in conditions)


def _at(item: Item | None, path: Path) -> Any:
    value: Any = None if item is None else item.get(path[0])
    for name in path[1:]:
        value = None if value is None else value.get("M", {}).get(name)
    return value


def _comparable(value: Any) -> Any:
    ((kind, content),) = value.items()
    if kind == "N":
        return Decimal(content)
    if kind == "M":
        return {name: _comparable(member) for name, member in content.items()}
    return content


@dataclass
class SimulatedShard:
    """A shard: a range of hashes, its records, how many of them were trimmed."""

    id: str
    parent: str | None
    low: int
    high: int
    opened_at: float
    records: list[Change] = field(default_factory=list)
    trimmed: int = 0
    closed_at: float | None = None


class SimulatedStream:
    """The stream of one table."""

    def __init__(
        self,
        name: str,
        chance: random.Random,
        clock: Callable[[], float],
        *,
        view: str = "NEW_AND_OLD_IMAGES",
    ) -> None:
        self.view = view
        self.id = f"{name}-{chance.getrandbits(32):08x}"
        self._chance = chance
        self._clock = clock
        self._shards: dict[str, SimulatedShard] = {}
        self._iterators: dict[str, tuple[str, int, float]] = {}
        self._unlisted: dict[str, float] = {}
        self._list_after = 0.0
        self._empty_reads = 0
        self._numbers = 0
        # Numbers that soon have a digit more, of 20 digits or of 40.
        self._sequence = 10 ** chance.choice((3, 20, 39)) - chance.randrange(1, 400)
        self._open(None, 0, HASHES)

    def add(self, partition: str, old: Item | None, new: Item | None) -> None:
        """A change of an item; none where nothing changed."""
        if old == new:
            return
        self._sequence += self._chance.choice((1, 1, 7, 100))
        place = hash_of(partition)
        shard = next(s for s in self.open_shards() if s.low <= place < s.high)
        images = (
            old if "OLD" in self.view else None,
            new if "NEW" in self.view else None,
        )
        # The stamp has whole seconds.
        created_at = float(int(self._clock()))
        shard.records.append(Change(str(self._sequence), *images, created_at))

    def open_shards(self) -> list[SimulatedShard]:
        return [shard for shard in self._shards.values() if shard.closed_at is None]

    def split(self, shard: SimulatedShard) -> None:
        """Close a shard; two children share its range."""
        middle = (shard.low + shard.high) // 2
        shard.closed_at = self._clock()
        self._open(shard.id, shard.low, middle)
        self._open(shard.id, middle, shard.high)

    def close(self, shard: SimulatedShard) -> None:
        """End a shard; none goes on, as where the stream is turned off."""
        shard.closed_at = self._clock()

    def roll(self, shard: SimulatedShard) -> None:
        """Close a shard; one child goes on, as happens every few hours."""
        shard.closed_at = self._clock()
        self._open(shard.id, shard.low, shard.high)

    def read_nothing(self, times: int) -> None:
        """The next reads give no records, as happens also where there are some."""
        self._empty_reads = times

    def list_late(self, seconds: float) -> None:
        """Shards that are opened from now on are listed so much later."""
        self._list_after = seconds

    def forget(self, shard_id: str, sequence: str, beyond: int) -> None:
        """Trim a shard up to some records beyond one."""
        shard = self._shards.get(shard_id)
        for number, record in enumerate(() if shard is None else shard.records):
            if shard is not None and record.sequence == sequence:
                shard.trimmed = max(shard.trimmed, min(number + beyond, len(shard.records)))

    def expire_iterators(self) -> None:
        """Every iterator that was given is of no use any more."""
        self._iterators.clear()

    def trim(self) -> None:
        """Forget what is older than 24 hours, and closed shards of which nothing is left."""
        until = self._clock() - RETENTION_SECONDS
        for shard in list(self._shards.values()):
            while shard.trimmed < len(shard.records) and (
                shard.records[shard.trimmed].created_at < until
            ):
                shard.trimmed += 1
            if shard.closed_at is not None and shard.closed_at < until:
                del self._shards[shard.id]

    def describe(self, after: str | None) -> ShardPage:
        self.trim()
        now = self._clock()
        listed = [s for s in self._shards.values() if self._unlisted.get(s.id, now) <= now]
        start = 0 if after is None else bisect_right([s.id for s in listed], after)
        page = [Shard(s.id, s.parent) for s in listed[start:]]
        more = len(page) > SHARDS_PER_PAGE
        page = page[:SHARDS_PER_PAGE]
        return ShardPage(page, page[-1].id if more else None, self.id)

    def iterator(self, shard_id: str, after: str | None) -> str:
        self.trim()
        shard = self._shard(shard_id)
        if after is None:
            position = shard.trimmed
        else:
            position = next((n + 1 for n, r in enumerate(shard.records) if r.sequence == after), -1)
            if position <= shard.trimmed and shard.trimmed:
                raise Trimmed("the record is older than 24 hours")
            if position < 0:
                raise ValueError("no such sequence number in the shard")
        return self._give(shard_id, position)

    def read(self, iterator: str, limit: int) -> Batch:
        self.trim()
        if iterator not in self._iterators:
            raise IteratorExpired("the iterator has expired")
        shard_id, position, given_at = self._iterators[iterator]
        if self._clock() - given_at > ITERATOR_SECONDS:
            raise IteratorExpired("the iterator has expired")
        shard = self._shard(shard_id)
        if position < shard.trimmed:
            raise Trimmed("records behind the iterator are older than 24 hours")
        if self._empty_reads:
            self._empty_reads -= 1
            return Batch([], self._give(shard_id, position))
        records = shard.records[position : position + limit]
        position += len(records)
        if shard.closed_at is not None and position == len(shard.records):
            return Batch(records, None)
        return Batch(records, self._give(shard_id, position))

    def _shard(self, shard_id: str) -> SimulatedShard:
        if shard_id not in self._shards:
            raise Trimmed("the shard is older than 24 hours")
        return self._shards[shard_id]

    def _give(self, shard_id: str, position: int) -> str:
        self._numbers += 1
        iterator = f"{shard_id}/{self._numbers}"
        self._iterators[iterator] = (shard_id, position, self._clock())
        return iterator

    def _open(self, parent: str | None, low: int, high: int) -> None:
        self._numbers += 1
        shard_id = f"shardId-{self._numbers:08d}-{self.id}"
        self._shards[shard_id] = SimulatedShard(shard_id, parent, low, high, self._clock())
        self._unlisted[shard_id] = self._clock() + self._list_after


class SimulatedTable:
    """A table. `before` keeps each item's last image but one, for reads that are not consistent."""

    def __init__(self, table: Table, stream: SimulatedStream | None) -> None:
        self.table = table
        self.stream = stream
        self.off: SimulatedStream | None = None
        """The stream as it was when it was turned off: it can be read, and has no new records."""
        self.items: dict[Cell, Item] = {}
        self.before: dict[Cell, Item | None] = {}
        self._partitions: dict[str, list[str]] = {}
        self._order: list[tuple[int, str, str]] | None = None

    def write(self, cell: Cell, item: Item | None, condition: Condition | None = None) -> None:
        """Put, or delete with `item` None. Raises ConditionFailed."""
        old = self.items.get(cell)
        if condition is not None and not holds(condition, old):
            raise ConditionFailed(old)
        self.before[cell] = old
        if (old is None) != (item is None):
            self._order = None
        if item is not None:
            self.items[cell] = item
            if old is None:
                insort(self._partitions.setdefault(cell.partition, []), cell.sort or "")
        elif old is not None:
            del self.items[cell]
            self._partitions[cell.partition].remove(cell.sort or "")
        if self.stream is not None:
            self.stream.add(cell.partition, old, item)

    def unmark(self, cell: Cell, mark: AttributeValue) -> None:
        """Remove an item's mark if it is this one. Raises ConditionFailed."""
        old = self.items.get(cell)
        if old is None or not holds(Equal((MARK,), mark), old):
            raise ConditionFailed(old)
        self.write(cell, {name: value for name, value in old.items() if name != MARK})

    def scan(
        self, segment: int, segments: int, start: Item | None, limit: int, *, stale: bool = False
    ) -> Page:
        """In the order of hashes; a segment is a range of them."""
        if self._order is None:
            self._order = sorted(
                (hash_of(cell.partition), cell.partition, cell.sort or "") for cell in self.items
            )
        low, high = HASHES * segment // segments, HASHES * (segment + 1) // segments
        first = bisect_right(self._order, (low - 1, chr(0x10FFFF), ""))
        if start is not None:
            cell = self.table.cell(start)
            first = bisect_right(
                self._order, (hash_of(cell.partition), cell.partition, cell.sort or "")
            )
        places = [place for place in self._order[first : first + limit] if place[0] < high]
        cells = [
            Cell(self.table.name, partition, sort if self.table.sort else None)
            for _, partition, sort in places
        ]
        found = [(self.before.get(c) if stale else None) or self.items[c] for c in cells]
        more = len(cells) == limit
        return Page(found, self.table.key(cells[-1]) if more else None, float(len(found)))

    def query(self, partition: str, prefix: str, start: Item | None, limit: int) -> Page:
        after = "" if start is None else self.table.cell(start).sort or ""
        sorts = self._partitions.get(partition, [])
        first = bisect_right(sorts, after) if start is not None else bisect_left(sorts, prefix)
        found: list[str] = []
        for sort in sorts[first : first + limit + 1]:
            if not sort.startswith(prefix):
                break
            found.append(sort)
        more = len(found) > limit
        cells = [
            Cell(self.table.name, partition, sort if self.table.sort else None)
            for sort in found[:limit]
        ]
        items = [self.items[cell] for cell in cells]
        return Page(items, self.table.key(cells[-1]) if more else None, float(len(items)))
