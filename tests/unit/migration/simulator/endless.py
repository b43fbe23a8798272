"""A source of as many items as are asked for, that are made when they are read, and targets that keep
nothing: so what is held is what the engine holds.

Owns the items and the count of those that somebody still has.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, ClassVar

from deploy.migration._context import Context, Settings
from deploy.migration._items import Item
from deploy.migration._ports import Condition, Page
from deploy.migration.commands import Migration
from deploy.migration.mapping import Table
from deploy.migration.worker import Worker
from tests.unit.migration.simulator.clients import SimulatedDatabase, World
from tests.unit.migration.simulator.library import BOOKS, CONTROL, MAPPING, MONOLITH, SHELVES
from tests.unit.migration.simulator.virtual_time import run, sleep

SETTINGS = Settings(segments=8, page=100, concurrency=8, units_per_second=1e9, settle=1.0)


class Counted(dict[str, Any]):
    """An item that was read. `held`: how many are there now, `most`: at the same time."""

    held: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self, item: Item) -> None:
        super().__init__(item)
        Counted.held += 1
        Counted.most = max(Counted.most, Counted.held)

    def __del__(self) -> None:
        Counted.held -= 1


class EndlessDatabase(SimulatedDatabase):
    """A simulated database whose source has `items` books and whose targets forget what is put."""

    def __init__(self, world: World, items: int) -> None:
        super().__init__(world, reliable=True)
        self._items = items
        self.put_rows = 0
        self.on_their_way = 0
        self.most_on_their_way = 0

    async def scan(
        self, table: Table, *, segment: int, segments: int, start: Item | None, limit: int
    ) -> Page:
        if table != MONOLITH:
            return await super().scan(
                table, segment=segment, segments=segments, start=start, limit=limit
            )
        first = self._items * segment // segments
        last = self._items * (segment + 1) // segments
        if start is not None:
            first = int(start["pk"]["S"].removeprefix("BOOK#")) + 1
        numbers = range(first, min(first + limit, last))
        await sleep(0.001)
        items = [Counted(_book(number)) for number in numbers]
        more = numbers.stop < last
        key = {name: items[-1][name] for name in ("pk", "sk")} if more else None
        return Page(items, key, float(len(items)))

    async def put(self, table: Table, item: Item, condition: Condition | None = None) -> float:
        if table not in (BOOKS.table, SHELVES.table):
            return await super().put(table, item, condition)
        self.on_their_way += 1
        self.most_on_their_way = max(self.most_on_their_way, self.on_their_way)
        await sleep(0.001)
        self.on_their_way -= 1
        self.put_rows += 1
        return 1.0


def _book(number: int) -> Item:
    return {
        "pk": {"S": f"BOOK#{number:09d}"},
        "sk": {"S": "META"},
        "kind": {"S": "book"},
        "name": {"S": f"the name of the book {number} " * 8},
    }


class Held:
    """What a migration of so many items held at most."""

    def __init__(self, database: EndlessDatabase, control_rows: int) -> None:
        self.rows = database.put_rows
        self.items = Counted.most
        self.writes = database.most_on_their_way
        self.control_rows = control_rows


def copied(items: int) -> Held:
    """Plan and copy so many items in virtual time."""
    Counted.held = Counted.most = 0

    async def main() -> Held:
        world = World(1)
        for table in (MONOLITH, BOOKS.table, SHELVES.table):
            world.create(table)
        world.create(CONTROL, stream=False)
        database = EndlessDatabase(world, items)

        def context(name: str) -> Context:
            time = asyncio.get_running_loop().time
            return Context(
                name, MAPPING, database, CONTROL, time, time, sleep, random.Random(name), SETTINGS
            )

        migration = Migration(context("operator"))
        await migration.start()
        worker = Worker(context("worker"))
        working = asyncio.get_running_loop().create_task(worker.run())
        await migration.copied()
        worker.stop()
        await working
        return Held(database, len(world.tables[CONTROL.name].items))

    return run(main(), most_steps=100 * items + 1_000_000)
