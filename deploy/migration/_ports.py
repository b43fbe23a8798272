"""What the engine needs of DynamoDB: items, conditions, streams, and how a call may fail.

Owns the shapes and nothing that is sent. Conditions are typed, so that whatever keeps the items means
the same by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from deploy.migration._items import AttributeValue, Item
from deploy.migration.mapping import Cell, Table

Path = tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """attribute_not_exists"""

    path: Path


@dataclass(frozen=True)
class Present:
    """attribute_exists"""

    path: Path


@dataclass(frozen=True)
class Equal:
    """`path = value`; false where nothing is at the path."""

    path: Path
    value: AttributeValue


@dataclass(frozen=True)
class Less:
    """`path < value`; false where nothing is at the path, or something of another type."""

    path: Path
    value: AttributeValue


@dataclass(frozen=True)
class AllOf:
    """AND"""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """OR"""

    conditions: tuple[Condition, ...]


Condition = Missing | Present | Equal | Less | AllOf | AnyOf


class DatabaseError(Exception):
    """A call that did not give what it was made for."""


class ConditionFailed(DatabaseError):  # noqa: N818 - what happened, not an error of ours
    """The condition is not met; `item` is what stands."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("the condition is not met")
        self.item = item


class Throttled(DatabaseError):  # noqa: N818 - what happened, not an error of ours
    """Not carried out; worth another attempt later."""


class Unanswered(DatabaseError):  # noqa: N818 - what happened, not an error of ours
    """No answer came: it was carried out, or was not, or will be at some later time."""


class IteratorExpired(DatabaseError):  # noqa: N818 - what happened, not an error of ours
    """A shard iterator older than five minutes (AWS promises that; fifteen are usual)."""


class Trimmed(DatabaseError):  # noqa: N818 - what happened, not an error of ours
    """The stream no longer has what was asked for: records live for 24 hours."""


class DeniedError(DatabaseError):
    """Whoever asks has no right to do that, or is nobody; the message is AWS's."""


class Rights(Enum):
    """What somebody does with a table."""

    CONTROL = "control"
    """Reads and writes rows by key."""
    DATA = "data"
    """That, scans, reads together, and reads the stream."""


class Index(NamedTuple):
    """A global secondary index: its key attributes, and its write units (None on demand)."""

    name: str
    key: Sequence[str]
    write_units: float | None


class TableFacts(NamedTuple):
    """What DynamoDB says of a table.

    `stream` is the StreamViewType, None without a stream. Units a second are None on demand, `warm_*`
    what an on-demand table takes at once. `items` and `bytes` are some hours old.
    """

    is_active: bool
    key: Sequence[str]
    types: Mapping[str, str]
    stream: str | None
    indexes: Sequence[Index]
    items: int
    bytes: int
    read_units: float | None = None
    write_units: float | None = None
    warm_read_units: float | None = None
    warm_write_units: float | None = None


class Page(NamedTuple):
    """Items, and where to go on; `units` is what the table says it took."""

    items: Sequence[Item]
    next: Item | None
    units: float


class Shard(NamedTuple):
    """A shard of a stream. A parent that was trimmed may still be named."""

    id: str
    parent: str | None


class ShardPage(NamedTuple):
    """Shards, and the id after which the list goes on.

    `stream` is another one when the table's stream was turned off and on again. A shard that has
    just been opened may not be listed yet.
    """

    shards: Sequence[Shard]
    last: str | None
    stream: str


class Change(NamedTuple):
    """A stream record. `created_at` is DynamoDB's, in whole seconds, and orders nothing. `passed` is
    the number of the last barrier before it in its shard; who reads the shard says so."""

    sequence: str
    old: Item | None
    new: Item | None
    created_at: float
    passed: int = 0


class Batch(NamedTuple):
    """Records, and the iterator behind them; None once a closed shard has been read whole."""

    records: Sequence[Change]
    next: str | None


class Database(Protocol):
    """Tables and streams. Every read of an item is strongly consistent.

    Each method raises Throttled, Unanswered or DeniedError, writes raise ConditionFailed too.
    """

    async def describe(self, table: Table) -> TableFacts | None:
        """What there is to know of a table; None where there is none of the name."""

    async def denied(self, table: Table, rights: Rights) -> Sequence[str]:
        """The IAM actions of these rights that are refused, each tried; changes nothing."""

    async def get(self, table: Table, cell: Cell) -> Item | None:
        """An item."""

    async def get_many(self, table: Table, cells: Sequence[Cell]) -> Mapping[Cell, Item]:
        """Up to 100 items, those that exist."""

    async def get_together(self, cells: Sequence[tuple[Table, Cell]]) -> Sequence[Item | None]:
        """Up to 100 items as they stand at one moment (TransactGetItems)."""

    async def put(self, table: Table, item: Item, condition: Condition | None = None) -> float:
        """Write an item whole; gives the units that it took."""

    async def delete(self, table: Table, cell: Cell, condition: Condition | None = None) -> None:
        """Remove an item."""

    async def unmark(self, table: Table, cell: Cell, mark: AttributeValue) -> float:
        """Remove the mark of an item if it still is this one, whatever else of the item was changed
        (UpdateItem); gives the units that it took."""

    async def scan(
        self, table: Table, *, segment: int, segments: int, start: Item | None, limit: int
    ) -> Page:
        """A page of one segment of a table."""

    async def query(self, table: Table, partition: str, prefix: str, start: Item | None) -> Page:
        """A page of the items of a partition whose sort key begins so."""

    async def shards(self, table: Table, after: str | None) -> ShardPage:
        """A page of the shards of a table's stream."""

    async def open_shard(self, table: Table, shard: str, after: str | None) -> str:
        """An iterator behind that sequence number, or from the oldest record on."""

    async def read_shard(self, iterator: str, limit: int) -> Batch:
        """The next records; raises IteratorExpired and Trimmed."""
