"""An application that uses two modules while its table is split: writers and readers behind the gate.

Owns where a module keeps a thing, in the one table and in the service's, and the record of every
read and write. A course's progress has several rows in the service's table, which are written one
after another; of content there is one. A request that fails is made a second time, as an SDK does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from deploy.migration._control import SOURCE
from deploy.migration._items import MARK, Item, mark_of
from deploy.migration.gate import Gate
from deploy.migration.mapping import Cell, SplitMapping, Table
from deploy.migration.mappings.lyceum import CONTENT, PROGRESS
from libs.aws import marshal
from tests.integration.migration.history import Key, Read, Write

Result = TypeVar("Result")

MODULES = (CONTENT.module, PROGRESS.module)
_STATIC = {"n0": {"fraction": 1}, "n1": {"fraction": 2}}
"""Places of a course's contents: rows that come and go with the course's."""


LONGEST_PAUSE = 0.25
"""Between two requests of one user."""


@dataclass
class Facts:
    """What came of the requests. `waits` are those of writes that met a fence, in seconds."""

    requests: int = 0
    retried: int = 0
    failed: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


class Application:
    """Uses `keys` things of each module, each written by one writer alone."""

    def __init__(
        self, gate: Gate, dynamodb: Any, split: SplitMapping, keys: int, longest_pause: float
    ) -> None:
        self.gate = gate
        self._dynamodb = dynamodb
        self._split = split
        self.keys = keys
        self._longest_pause = longest_pause
        self.initial: dict[Key, str | None] = {}
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.facts = Facts()
        self.stopped = False
        self._values = 0

    async def seed(self, chance: random.Random) -> None:
        """Things from before the migration."""
        for key in self.all_keys():
            value = self._value() if chance.random() < 0.8 else None
            self.initial[key] = value
            if value is not None:
                await self._put(self._split.source, source_item(self._split, key, value))

    def all_keys(self) -> Iterator[Key]:
        for number in range(self.keys):
            for module in MODULES:
                yield module, number

    async def write_on(self, chance: random.Random, remainder: int, writers: int) -> None:
        """One writer: of the keys that leave this remainder, until stopped."""
        mine = [key for key in self.all_keys() if key[1] % writers == remainder]
        while not self.stopped:
            await asyncio.sleep(chance.uniform(0.0, self._longest_pause))
            key = chance.choice(mine)
            value = None if chance.random() < 0.3 else self._value()
            began = time.monotonic()
            acted = await self._request(key[0], partial(self.write, key=key, value=value))
            self.writes.append(
                Write(key, value, began, time.monotonic() if acted else float("inf"))
            )

    async def read_on(self, chance: random.Random) -> None:
        """One reader, until stopped."""
        while not self.stopped:
            await asyncio.sleep(chance.uniform(0.0, self._longest_pause))
            key = (chance.choice(MODULES), chance.randrange(self.keys))
            began = time.monotonic()
            found = await self._request(key[0], partial(self._read, key=key))
            if found is not None:
                self.reads.append(Read(key, found[0], began, time.monotonic()))

    async def _request(
        self, module: str, act: Callable[[str], Coroutine[Any, Any, Result]]
    ) -> Result | None:
        """One request of a user; None where it failed twice."""
        self.facts.requests += 1
        for attempt in range(2):
            asked = time.monotonic()
            try:
                async with self.gate.enter(module) as owner:
                    waited = time.monotonic() - asked
                    if waited > 0.25:
                        self.facts.waits.append(waited)
                    return await act(owner)
            except Exception as error:
                if attempt:
                    self.facts.failed.append(repr(error))
                else:
                    self.facts.retried += 1
        return None

    async def write(self, owner: str, key: Key, value: str | None) -> bool:
        """Whole items in the one table, rows one by one in the service's."""
        if owner == SOURCE:
            item = source_item(self._split, key, value or "")
            if value is None:
                await self._delete(self._split.source, item)
            else:
                await self._put(self._split.source, item)
            return True
        table = self._split.target(key[0]).table
        rows = self._split.rows(source_item(self._split, key, value or ""))
        head = head_cell(self._split, key)
        # The row that says whether there is one comes first, and goes first.
        for cell in sorted(rows, key=lambda cell: cell != head):
            if value is None:
                await self._delete(table, rows[cell])
            else:
                await self._put(table, rows[cell])
        return True

    async def _read(self, owner: str, key: Key) -> tuple[str | None]:
        table, cell = self._split.source, self._split.source.cell(source_item(self._split, key, ""))
        if owner != SOURCE:
            table, cell = self._split.target(key[0]).table, head_cell(self._split, key)
        answer = await self._dynamodb.get_item(
            TableName=table.name, Key=table.key(cell), ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        mark = mark_of(item)
        if item is None:
            return (None,)
        if mark is not None and mark.tombstone:
            return ("a tombstone",)
        return (str(item["title"]["S"]),)

    async def _put(self, table: Table, item: Item) -> None:
        await self._dynamodb.put_item(TableName=table.name, Item=item)

    async def _delete(self, table: Table, item: Item) -> None:
        await self._dynamodb.delete_item(TableName=table.name, Key=table.key(table.cell(item)))

    def _value(self) -> str:
        self._values += 1
        return f"v{self._values}"


def source_item(split: SplitMapping, key: Key, value: str) -> Item:
    """A thing as the one table has it."""
    module, number = key
    if module == CONTENT.module:
        return marshal(
            {
                "pk": f"CONTENT#c{number}", "sk": "META", "course": "k", "title": value,
                "state": "pending", "s3Key": "content/x", "mime": "video/mp4", "bytes": 1,
            }
        )  # fmt: skip
    return marshal({"pk": f"USER#u{number}", "sk": "PROGRESS#k", "title": value, "places": _STATIC})


def head_cell(split: SplitMapping, key: Key) -> Cell:
    """The row of a thing that has its value."""
    rows = split.rows(source_item(split, key, ""))
    (cell,) = (cell for cell, row in rows.items() if "title" in row)
    return cell


def rows_of(split: SplitMapping, key: Key, value: str | None) -> dict[Cell, Item]:
    """The rows of a thing of this value."""
    return {} if value is None else dict(split.rows(source_item(split, key, value)))


def unmarked(item: Item) -> Item:
    """As the owner knows it."""
    return {name: value for name, value in item.items() if name != MARK}
