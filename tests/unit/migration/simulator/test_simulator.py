"""The simulator does what the migration depends on DynamoDB for."""

from __future__ import annotations

import asyncio
import time

import pytest

from deploy.migration._items import MARK, Item
from deploy.migration._ports import (
    AnyOf,
    ConditionFailed,
    Equal,
    IteratorExpired,
    Less,
    Missing,
    Throttled,
    Trimmed,
    Unanswered,
)
from deploy.migration.mapping import Cell, Table
from tests.unit.migration.simulator.clients import Faults, SimulatedDatabase, World
from tests.unit.migration.simulator.tables import SimulatedStream, SimulatedTable
from tests.unit.migration.simulator.virtual_time import DeadlockError, run

TABLE = Table("T", "pk", "sk")


def item(partition: str, value: str = "0", sort: str = "s") -> Item:
    return {"pk": {"S": partition}, "sk": {"S": sort}, "v": {"N": value}}


def cell(partition: str, sort: str = "s") -> Cell:
    return Cell("T", partition, sort)


def stream_of(table: SimulatedTable) -> SimulatedStream:
    assert table.stream is not None
    return table.stream


async def read_all(database: SimulatedDatabase, shard: str, after: str | None = None) -> list[str]:
    iterator: str | None = await database.open_shard(TABLE, shard, after)
    found: list[str] = []
    while iterator is not None:
        batch = await database.read_shard(iterator, 2)
        if not batch.records:
            break
        found += [record.sequence for record in batch.records]
        iterator = batch.next
    return found


def test_a_mark_goes_alone_and_only_if_it_is_the_one() -> None:
    async def main() -> None:
        world = World(1)
        table = world.create(TABLE)
        database = SimulatedDatabase(world)
        mark, other = ({"M": {"c": {"S": text}}} for text in "xy")
        for present in (None, item("a"), {**item("a"), MARK: other}):
            table.write(cell("a"), present)
            with pytest.raises(ConditionFailed) as failed:
                await database.unmark(TABLE, cell("a"), mark)
            assert failed.value.item == present
        table.write(cell("a"), {**item("a", "7"), MARK: mark})
        await database.unmark(TABLE, cell("a"), mark)
        assert table.items[cell("a")] == item("a", "7")

    run(main())


def test_conditions_compare_false_with_what_is_missing() -> None:
    async def main() -> None:
        world = World(1)
        world.create(TABLE)
        database = SimulatedDatabase(world)
        await database.put(TABLE, item("a", "9"), Missing(("pk",)))
        with pytest.raises(ConditionFailed) as failed:
            await database.put(TABLE, item("a", "1"), Less(("v", "x"), {"N": "5"}))
        assert failed.value.item == item("a", "9")
        await database.put(TABLE, item("a", "10"), Less(("v",), {"N": "10"}))  # as numbers
        with pytest.raises(ConditionFailed):
            await database.put(TABLE, item("a", "1"), Less(("v",), {"S": "99"}))
        either = AnyOf((Missing(("pk",)), Equal(("v",), {"N": "10.0"})))
        await database.delete(TABLE, cell("a"), either)
        assert await database.get(TABLE, cell("a")) is None

    run(main())


def test_segments_and_pages_cover_a_table_once_also_while_it_changes() -> None:
    async def main() -> None:
        world = World(2)
        table = world.create(TABLE)
        database = SimulatedDatabase(world)
        for n in range(50):
            table.write(cell(f"k{n}"), item(f"k{n}"))
        found: list[Cell] = []
        for segment in range(3):
            start: Item | None = None
            while True:
                page = await database.scan(TABLE, segment=segment, segments=3, start=start, limit=7)
                found += [TABLE.cell(one) for one in page.items]
                for one in page.items[:2]:  # also what the page ended with may go
                    table.write(TABLE.cell(one), None)
                start = page.next
                if start is None:
                    break
        assert sorted(found) == sorted(cell(f"k{n}") for n in range(50))

    run(main())


def test_a_shard_that_is_closed_ends_and_its_children_go_on() -> None:
    async def main() -> None:
        world = World(3)
        table = world.create(TABLE)
        stream = stream_of(table)
        database = SimulatedDatabase(world)
        for n in range(5):
            table.write(cell("a"), item("a", str(n)))
        table.write(cell("a"), item("a", "4"))  # changes nothing, so it is no record
        parent = stream.open_shards()[0]
        stream.split(parent)
        table.write(cell("a"), item("a", "6"))
        table.write(cell("a"), None)
        page = await database.shards(TABLE, None)
        assert [shard.parent for shard in page.shards] == [None, parent.id, parent.id]
        first = await read_all(database, parent.id)
        assert len(first) == 5
        children = [await read_all(database, shard.id) for shard in page.shards[1:]]
        assert sorted(map(len, children)) == [0, 2]
        assert list(map(int, first)) == sorted(map(int, first))
        assert await read_all(database, parent.id, first[2]) == first[3:]
        for child in stream.open_shards():
            stream.roll(child)
        page = await database.shards(TABLE, None)
        assert page.last is not None
        more = await database.shards(TABLE, page.last)
        assert len(page.shards) == 3
        assert len(more.shards) == 2

    run(main())


def test_records_and_shards_are_trimmed_and_iterators_expire() -> None:
    async def main() -> None:
        world = World(4)
        table = world.create(TABLE)
        stream = stream_of(table)
        database = SimulatedDatabase(world)
        table.write(cell("a"), item("a", "1"))
        shard = stream.open_shards()[0]
        (sequence,) = await read_all(database, shard.id)
        iterator = await database.open_shard(TABLE, shard.id, None)
        await asyncio.sleep(301)
        with pytest.raises(IteratorExpired):
            await database.read_shard(iterator, 1)
        stream.roll(shard)
        await asyncio.sleep(25 * 3600)
        with pytest.raises(Trimmed):
            await database.open_shard(TABLE, shard.id, sequence)
        assert [s.parent for s in (await database.shards(TABLE, None)).shards] == [shard.id]

    run(main())


def test_an_unanswered_write_may_be_carried_out_later() -> None:
    async def main() -> set[str]:
        world = World(5, Faults(unanswered=1.0, latest_seconds=10.0))
        table = world.create(TABLE)
        database = SimulatedDatabase(world)
        outcomes: set[str] = set()
        for n in range(60):
            with pytest.raises(Unanswered):
                await database.put(TABLE, item(f"k{n}"))
            at_once = cell(f"k{n}") in table.items
            await asyncio.sleep(11)
            later = cell(f"k{n}") in table.items
            outcomes.add("at once" if at_once else "later" if later else "never")
        return outcomes

    assert run(main()) == {"at once", "later", "never"}


def test_a_dead_process_makes_no_call() -> None:
    async def main() -> None:
        world = World(6, Faults(throttled=1.0))
        world.create(TABLE)
        database = SimulatedDatabase(world)
        with pytest.raises(Throttled):
            await database.get(TABLE, cell("a"))
        database.die()
        with pytest.raises(asyncio.CancelledError):
            await database.get(TABLE, cell("a"))

    run(main())


def test_virtual_time_passes_at_once_and_only_when_everybody_waits() -> None:
    began = time.monotonic()

    async def main() -> float:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        return asyncio.get_running_loop().time()

    assert run(main()) == 7200
    assert time.monotonic() - began < 60

    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run(stuck())


def test_the_same_seed_is_the_same_world() -> None:
    async def main(seed: int) -> tuple[float, list[str]]:
        world = World(seed, Faults(throttled=0.2, unanswered=0.2))
        table = world.create(TABLE)
        databases = [SimulatedDatabase(world) for _ in range(3)]

        async def write(database: SimulatedDatabase, name: str) -> None:
            for n in range(20):
                try:
                    await database.put(TABLE, item(f"{name}{n % 3}", str(n)))
                except (Throttled, Unanswered):
                    continue

        await asyncio.gather(*(write(d, "abc"[n]) for n, d in enumerate(databases)))
        records = stream_of(table).open_shards()[0].records
        return world.now(), [record.sequence for record in records]

    assert run(main(7)) == run(main(7))
    assert run(main(7)) != run(main(8))
