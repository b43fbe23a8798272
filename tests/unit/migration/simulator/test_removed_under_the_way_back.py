"""What stands in the source goes while the way back is about to write over it.

A switch back removes the source's tombstones while replication goes on. So the write of an item that
comes again can find nothing where a tombstone was read a moment before: it is refused, and has to be
made anew. Weather finds this too seldom: the moment is made here.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from deploy.migration._back import Back
from deploy.migration._cells import Cells
from deploy.migration._context import Context
from deploy.migration._control import Control
from deploy.migration._items import Item, Mark, live, mark_of, marked
from deploy.migration._ports import Condition
from deploy.migration.mapping import Cell, Table
from tests.unit.migration.simulator.clients import SimulatedDatabase, World
from tests.unit.migration.simulator.library import BOOKS, CONTROL, MAPPING, MONOLITH
from tests.unit.migration.simulator.virtual_time import run, sleep

SOURCE_CELL = Cell(MONOLITH.name, "BOOK#a", "META")
ROW: Item = {"bookId": {"S": "a"}, "title": {"S": "again"}, "kind": {"S": "book"}}
STOOD = {
    "a tombstone": marked(MONOLITH.key(SOURCE_CELL), Mark(tag="c", tombstone=True)),
    "an item": marked(
        {**MONOLITH.key(SOURCE_CELL), "name": {"S": "before"}, "kind": {"S": "book"}}, Mark(tag="c")
    ),
}


class _Removing(SimulatedDatabase):
    """Before its first write of the source, what stands there goes."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._source = world.tables[MONOLITH.name]
        self.removed = 0

    async def put(self, table: Table, item: Item, condition: Condition | None = None) -> float:
        if table == MONOLITH and not self.removed:
            self._source.write(SOURCE_CELL, None)
            self.removed += 1
        return await super().put(table, item, condition)


@pytest.mark.parametrize("stood", STOOD)
def test_a_write_that_is_refused_because_nothing_stands_is_made_anew(stood: str) -> None:
    async def main() -> None:
        world = World(1)
        for table in (MONOLITH, BOOKS.table, CONTROL):
            world.create(table)
        source = world.tables[MONOLITH.name]
        source.write(SOURCE_CELL, STOOD[stood])
        world.tables[BOOKS.table.name].write(BOOKS.table.cell(ROW), ROW)
        database = _Removing(world)
        loop = asyncio.get_running_loop()
        context = Context(
            "worker", MAPPING, database, CONTROL, loop.time, loop.time, sleep, random.Random(1)
        )
        control = Control(context)
        rule = next(rule for rule in MAPPING.rules if rule.target == BOOKS)
        await Back(context, control, Cells(context, control), BOOKS).bring(rule, SOURCE_CELL)
        assert database.removed == 1
        stands = source.items.get(SOURCE_CELL)
        assert mark_of(stands) is not None
        assert MAPPING.rows(live(stands)) == {BOOKS.table.cell(ROW): ROW}

    run(main())
