"""What the monolith's modules need of their one table. Owns the shapes; knows no module's items.

Every condition is about single attributes: each has one of some values, or is not there. With it two
writers who have read the same item can not both replace it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

AttributeValue: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, AttributeValue]
Expected: TypeAlias = Mapping[str, tuple[AttributeValue | None, ...]]
"""What each attribute may be for a write to be carried out; None: it is not there."""

PARTITION: Final = "pk"
SORT: Final = "sk"

BY_STATE: Final = "byState"
BY_UPDATE: Final = "byUpdate"
BY_COURSE: Final = "byCourse"

ABSENT: Final[Expected] = {PARTITION: (None,)}
"""There is no such item."""


class Key(NamedTuple):
    """The primary key of an item."""

    partition: str
    sort: str

    def item(self) -> Item:
        """In wire form."""
        return {PARTITION: {"S": self.partition}, SORT: {"S": self.sort}}


@dataclass(frozen=True)
class Put:
    """Put an item in the place of what is there."""

    item: Item
    expected: Expected = field(default_factory=dict)


@dataclass(frozen=True)
class Delete:
    """Remove what is there, if anything."""

    key: Key
    expected: Expected = field(default_factory=dict)


Write: TypeAlias = Put | Delete


class NotAsExpectedError(Exception):
    """Nothing was written: of each write, whether it was the reason, and the item that is there."""

    def __init__(self, refused: Sequence[bool], items: Sequence[Item | None]) -> None:
        super().__init__("an item is not as it was expected")
        self.refused = tuple(refused)
        self.items = tuple(items)


class Page(NamedTuple):
    """Items in the order of their sort keys; `more` when there are further ones."""

    items: Sequence[Item]
    more: bool


class Table(Protocol):
    """The one table. Raises what the AWS client raises."""

    async def get(self, key: Key) -> Item | None:
        """An item as last written."""

    async def write(self, *writes: Write, token: str | None = None) -> None:
        """All of them or none, of different keys. Raises NotAsExpectedError.

        With a `token` one write may be sent again after a lost answer: the attribute `writtenBy`
        tells its own first effect from another's.
        """

    async def between(self, partition: str, lowest: str, highest: str, *, limit: int) -> Page:
        """Up to `limit` items of a partition whose sort keys lie between, both included, as last
        written."""

    def index(
        self, name: str, value: str, *, since: str | None = None
    ) -> AsyncIterator[Sequence[Item]]:
        """The items that an index has of a value, in batches; `since`: whose sort key is not less.
        May lag behind writes for a moment."""


WRITTEN_BY: Final = "writtenBy"


def key_of(item: Item) -> Key:
    """The primary key of an item."""
    return Key(str(item[PARTITION]["S"]), str(item[SORT]["S"]))
