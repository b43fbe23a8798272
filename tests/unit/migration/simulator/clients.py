"""Calls to the simulated tables as a process makes them: they take time, and fail as they do in life.

Owns latency and faults. A call may be throttled; its answer may be lost, whether it was carried out,
was not, or will be later; the process may die at any of its calls, or stand still before one. All
of it follows from the seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from deploy.migration._items import AttributeValue, Item
from deploy.migration._ports import (
    Batch,
    Condition,
    DatabaseError,
    Page,
    Rights,
    ShardPage,
    TableFacts,
    Throttled,
    Unanswered,
)
from deploy.migration.mapping import Cell, Table
from tests.unit.migration.simulator.tables import SimulatedStream, SimulatedTable
from tests.unit.migration.simulator.virtual_time import sleep

Result = TypeVar("Result")

QUERY_LIMIT = 8

FATES = ("never", "at once", "later")
"""Whether what is on its way when its process dies is carried out."""


@dataclass
class Faults:
    """How often calls of all processes fail, as shares of 1."""

    throttled: float = 0.0
    unanswered: float = 0.0
    slow: float = 1.0
    """How many times as long as usual a call takes."""
    latest_seconds: float = 30.0
    """An unanswered call may still be carried out up to so much later."""


class World:
    """All tables, and the chance that everything follows from."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.chance = random.Random(seed)
        self.faults = faults or Faults()
        self.tables: dict[str, SimulatedTable] = {}
        self.calls = 0
        self.denied: dict[str, Sequence[str]] = {}
        """Actions that nobody may do, by table; `denied` alone tells of them."""
        self.stale_scans = False
        """Scans may give what stood before, as an eventually consistent one does."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def create(
        self, table: Table, *, stream: bool = True, view: str = "NEW_AND_OLD_IMAGES"
    ) -> SimulatedTable:
        made = SimulatedStream(table.name, self.chance, self.now, view=view) if stream else None
        self.tables[table.name] = SimulatedTable(table, made)
        return self.tables[table.name]


class SimulatedDatabase:
    """`Database` as one process sees it. `die` ends it as kill -9 does: what is under way may be
    carried out or not, at once or later, and nobody learns."""

    def __init__(self, world: World, *, reliable: bool = False) -> None:
        """A `reliable` one only takes time; the application's own calls are such."""
        self._world = world
        self._reliable = reliable
        self.dead = False
        self.calls = 0
        self.dies_at: int | None = None
        self.dies_at_checkpoint = False
        self.fate: str | None = None
        """What becomes of the write at which it dies: one of FATES, or as chance has it."""
        self.writes: list[int] = []
        """Which of the calls were writes."""
        self.on_death: Callable[[], None] = lambda: None
        self.stands_still_until = 0.0

    def die(self) -> None:
        if not self.dead:
            self.dead = True
            self.on_death()

    async def get(self, table: Table, cell: Cell) -> Item | None:
        return await self._call(lambda: self._table(table).items.get(cell))

    async def get_many(self, table: Table, cells: Sequence[Cell]) -> Mapping[Cell, Item]:
        items = self._table(table).items
        assert len(cells) <= 100
        return await self._call(lambda: {cell: items[cell] for cell in cells if cell in items})

    async def get_together(self, cells: Sequence[tuple[Table, Cell]]) -> Sequence[Item | None]:
        assert len(cells) <= 100
        return await self._call(
            lambda: [self._table(table).items.get(cell) for table, cell in cells]
        )

    async def put(self, table: Table, item: Item, condition: Condition | None = None) -> float:
        if self.dies_at_checkpoint and self._is_checkpoint(table, item):
            self.die()
        await self._call(
            lambda: self._table(table).write(table.cell(item), item, condition), write=True
        )
        return 1.0

    async def delete(self, table: Table, cell: Cell, condition: Condition | None = None) -> None:
        await self._call(lambda: self._table(table).write(cell, None, condition), write=True)

    async def unmark(self, table: Table, cell: Cell, mark: AttributeValue) -> float:
        await self._call(lambda: self._table(table).unmark(cell, mark), write=True)
        return 1.0

    async def scan(
        self, table: Table, *, segment: int, segments: int, start: Item | None, limit: int
    ) -> Page:
        stale = self._world.stale_scans
        return await self._call(
            lambda: self._table(table).scan(segment, segments, start, limit, stale=stale)
        )

    async def query(self, table: Table, partition: str, prefix: str, start: Item | None) -> Page:
        return await self._call(
            lambda: self._table(table).query(partition, prefix, start, QUERY_LIMIT)
        )

    async def describe(self, table: Table) -> TableFacts | None:
        return await self._call(lambda: self._facts(table))

    async def denied(self, table: Table, rights: Rights) -> Sequence[str]:
        return await self._call(lambda: self._world.denied.get(table.name, ()))

    def _facts(self, table: Table) -> TableFacts | None:
        if table.name not in self._world.tables:
            return None
        found = self._table(table)
        key = [table.partition, *([table.sort] if table.sort is not None else [])]
        return TableFacts(
            is_active=True,
            key=key,
            types=dict.fromkeys(key, "S"),
            stream=None if found.stream is None else found.stream.view,
            indexes=(),
            items=len(found.items),
            bytes=0,
        )

    async def shards(self, table: Table, after: str | None) -> ShardPage:
        return await self._call(lambda: self._stream(table).describe(after))

    async def open_shard(self, table: Table, shard: str, after: str | None) -> str:
        iterator = await self._call(lambda: self._stream(table).iterator(shard, after))
        return f"{table.name}|{iterator}"

    async def read_shard(self, iterator: str, limit: int) -> Batch:
        name, inner = iterator.split("|", 1)
        table = self._world.tables[name]
        batch = await self._call(lambda: _stream(table).read(inner, limit))
        return batch._replace(next=None if batch.next is None else f"{name}|{batch.next}")

    def _is_checkpoint(self, table: Table, row: Item) -> bool:
        """Whether it is a row of the control table that says that records were applied."""
        cell = table.cell(row)
        present = self._table(table).items.get(cell)
        return "#stream#" in (cell.sort or "") and (
            present is not None
            and row["values"]["M"].get("after") != present["values"]["M"].get("after")
        )

    def _table(self, table: Table) -> SimulatedTable:
        return self._world.tables[table.name]

    def _stream(self, table: Table) -> SimulatedStream:
        return _stream(self._table(table))

    async def call(self, action: Callable[[], Result]) -> Result:
        """A write of the application's own, as UpdateItem or a put: atomic, and it takes time."""
        return await self._call(action, write=True)

    async def _call(self, action: Callable[[], Result], *, write: bool = False) -> Result:
        world = self._world
        chance = world.chance
        if self.dead:
            raise asyncio.CancelledError
        world.calls += 1
        self.calls += 1
        if write:
            self.writes.append(self.calls)
        try:
            if self.calls == self.dies_at:
                self.die()
            still = self.stands_still_until
            seconds = chance.expovariate(200) * (1.0 if self._reliable else world.faults.slow)
            await sleep(seconds + max(still - world.now(), 0.0) if still else seconds)
        except asyncio.CancelledError:
            # Cancelled by its own death: the request may be on its way.
            if write and self._has_died():
                self._maybe_later(action, self.fate)
            raise
        faults = world.faults
        if not self._reliable and (faults.throttled or faults.unanswered):
            if chance.random() < faults.throttled:
                raise Throttled("throttled")
            if chance.random() < faults.unanswered:
                if write:
                    self._maybe_later(action)
                raise Unanswered("no answer")
        result = action()
        # Every other answer takes its time too: others act between what is done and what is known.
        if chance.random() < 0.5:
            await sleep(chance.expovariate(100) * (1.0 if self._reliable else faults.slow))
        return result

    def _has_died(self) -> bool:
        return self.dead

    def _maybe_later(self, action: Callable[[], object], fate: str | None = None) -> None:
        chance = self._world.chance

        def carry_out() -> None:
            with suppress(DatabaseError):
                action()

        fate = fate or chance.choices(FATES, (0.2, 0.4, 0.4))[0]
        if fate == "at once":
            carry_out()
        elif fate == "later":
            delay = chance.uniform(0.0, self._world.faults.latest_seconds)
            asyncio.get_running_loop().call_later(delay, carry_out)


def _stream(table: SimulatedTable) -> SimulatedStream:
    """The table's latest stream; one that was turned off stays readable."""
    stream = table.stream or table.off
    assert stream is not None
    return stream
