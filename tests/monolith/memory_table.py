"""The twin of the table in memory, for tests: it keeps the same items under the same conditions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.monolith.table import (
    PARTITION,
    SORT,
    Expected,
    Item,
    Key,
    NotAsExpectedError,
    Page,
    Put,
    Write,
    key_of,
)

TABLE_JSON: Final = Path(__file__).with_name("table.json")


class MemoryTable:
    """A `Table` in a dictionary; nothing is awaited inside a method."""

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        """The items by key; a test may put one there that no code would write."""
        self._indexes = _indexes()

    def put(self, item: Item) -> None:
        """Put an item, whatever is there."""
        self.items[key_of(item)] = item

    async def get(self, key: Key) -> Item | None:
        return self.items.get(key)

    async def write(self, *writes: Write, token: str | None = None) -> None:
        found = [self.items.get(_key(write)) for write in writes]
        refused = [
            not _holds(write.expected, item) for write, item in zip(writes, found, strict=True)
        ]
        if any(refused):
            raise NotAsExpectedError(refused, found)
        for write in writes:
            if isinstance(write, Put):
                self.items[_key(write)] = write.item
            else:
                self.items.pop(_key(write), None)

    async def between(self, partition: str, lowest: str, highest: str, *, limit: int) -> Page:
        keys = sorted(
            key
            for key in self.items
            if key.partition == partition and lowest <= key.sort <= highest
        )
        return Page([self.items[key] for key in keys[:limit]], len(keys) > limit)

    async def index(
        self, name: str, value: str, *, since: str | None = None
    ) -> AsyncIterator[Sequence[Item]]:
        partition, sort, projected = self._indexes[name]
        found = [
            item
            for item in self.items.values()
            if item.get(partition) == {"S": value}
            and (sort is None or sort in item)
            and (since is None or (sort is not None and item[sort]["S"] >= since))
        ]
        yield [{name: value for name, value in item.items() if name in projected} for item in found]


def _key(write: Write) -> Key:
    return key_of(write.item) if isinstance(write, Put) else write.key


def _holds(expected: Expected, item: Item | None) -> bool:
    return all((item or {}).get(name) in values for name, values in expected.items())


def _indexes() -> Mapping[str, tuple[str, str | None, frozenset[str]]]:
    """Partition key, sort key and attributes of each index."""
    found = {}
    for index in json.loads(TABLE_JSON.read_text())["GlobalSecondaryIndexes"]:
        keys = {key["KeyType"]: key["AttributeName"] for key in index["KeySchema"]}
        projected = {PARTITION, SORT, *keys.values(), *index["Projection"]["NonKeyAttributes"]}
        found[index["IndexName"]] = (keys["HASH"], keys.get("RANGE"), frozenset(projected))
    return found
