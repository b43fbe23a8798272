"""Workers that come, leave and die have each their share of the work a short time later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.migration._context import Context
from deploy.migration._control import Control, Leases
from deploy.migration._members import PREFIX, Members
from deploy.migration.commands import Migration
from deploy.migration.worker import Worker
from tests.unit.migration.simulator.clients import SimulatedDatabase, World
from tests.unit.migration.simulator.library import BOOKS, CONTROL, MAPPING, MONOLITH, SHELVES
from tests.unit.migration.simulator.machine import SETTINGS
from tests.unit.migration.simulator.tables import SimulatedStream
from tests.unit.migration.simulator.virtual_time import run, sleep

SEGMENTS = 7
MANY = replace(SETTINGS, segments=SEGMENTS)
STILL = 2 * MANY.lease
SETTLED = STILL + 4 * MANY.lease
"""After so long who stood still goes on, who is gone has been noticed, and what was asked back or
lost is somebody's again."""

EVENTS = ("joins", "leaves", "dies", "stands still", "a shard splits", "a moment")


class Crew:
    """Workers of a migration whose backfill is held, so that no segment comes to its end."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.workers: dict[str, tuple[Worker, SimulatedDatabase, asyncio.Task[None]]] = {}
        self.control: Control
        self._names = 0
        for table in (MONOLITH, BOOKS.table, SHELVES.table):
            self.world.create(table)
        self.world.create(CONTROL, stream=False)

    async def begin(self) -> None:
        operator = Migration(self.context("operator", SimulatedDatabase(self.world)))
        self.control = operator.control
        await operator.start()
        await operator.pause()

    def context(self, name: str, database: SimulatedDatabase) -> Context:
        time = asyncio.get_running_loop().time
        return Context(
            name, MAPPING, database, CONTROL, time, time, sleep, random.Random(name), MANY
        )

    def happens(self, event: str, number: int) -> None:
        names = list(self.workers)
        match event:
            case "joins":
                self._names += 1
                # Named against their age, by which alone they are to be ordered.
                name = f"worker-{99 - self._names}"
                database = SimulatedDatabase(self.world)
                worker = Worker(self.context(name, database))
                task = asyncio.get_running_loop().create_task(worker.run())

                def died() -> None:
                    task.cancel()

                database.on_death = died
                self.workers[name] = (worker, database, task)
            case "leaves" if names:
                self.workers.pop(names[number % len(names)])[0].stop()
            case "dies" if names:
                self.workers.pop(names[number % len(names)])[1].die()
            case "stands still" if names:
                database = self.workers[names[number % len(names)]][1]
                database.stands_still_until = self.world.now() + STILL
            case "a shard splits":
                table = (MONOLITH, BOOKS.table, SHELVES.table)[number % 3]
                stream = self.world.tables[table.name].stream
                assert stream is not None
                shards = stream.open_shards()
                if len(shards) < 4:
                    SimulatedStream.split(stream, shards[number % len(shards)])

    async def owners(self) -> dict[str, list[str]]:
        """Who has which rows that are not at their end, shards and segments."""
        rows = [row for row in await self.control.rows("work#") if row.values.get("done") is False]
        found: dict[str, list[str]] = {name: [] for name in self.workers}
        for row in rows:
            found.setdefault(row.values["owner"], []).append(row.key)
        return found

    async def shares(self) -> None:
        """Each row has an owner that is there, and nobody has two more of a kind than another."""
        owners = await self.owners()
        assert owners.keys() == self.workers.keys()
        for kind in ("#stream#", "#copy#"):
            counts = [sum(kind in key for key in keys) for keys in owners.values()]
            assert max(counts) - min(counts) <= 1, (kind, owners)
        assert sum("#copy#" in key for keys in owners.values() for key in keys) == SEGMENTS
        for name, (worker, _, _) in self.workers.items():
            assert sorted(worker.work) == sorted(owners[name])
        members = await self.control.rows(PREFIX)
        assert {row.key.removeprefix(PREFIX) for row in members} == self.workers.keys()


# What once went wrong: a worker that stood still and joined anew was taken for gone ever after; one
# that held the copy back noticed no more that its leases had run out; one that was asked to leave
# while it took something never left.
@example([("joins", 0, 0.0), ("stands still", 1, 3.0), ("stands still", 1, 2.5), ("joins", 0, 0.0)])
@example(
    [("a moment", 0, 3.0), ("stands still", 0, 0.0), ("joins", 0, 2.1), ("dies", 1, 3.5),
     ("joins", 0, 0.0)]
)  # fmt: skip
@example([("stands still", 0, 1.95), ("joins", 0, 4.21), ("dies", 0, 4.2), ("leaves", 0, 0.0)])
@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(EVENTS), st.integers(0, 60), st.floats(0.0, 5.0)), max_size=14
    )
)
def test_each_has_its_share_whoever_comes_and_goes(
    events: Sequence[tuple[str, int, float]],
) -> None:
    async def main() -> None:
        crew = Crew(1)
        await crew.begin()
        crew.happens("joins", 0)
        for event, number, seconds in events:
            crew.happens(event, number)
            await sleep(seconds)
        if not crew.workers:
            crew.happens("joins", 0)
        await sleep(SETTLED)
        await crew.shares()

    run(main())


@pytest.mark.parametrize("present", [1, 2, 3])
def test_who_joins_takes_its_share_and_moves_nothing_else(present: int) -> None:
    async def main() -> None:
        crew = Crew(2)
        await crew.begin()
        for _ in range(present):
            crew.happens("joins", 0)
            await sleep(SETTLED)
        before = {key: name for name, keys in (await crew.owners()).items() for key in keys}
        crew.happens("joins", 0)
        await sleep(SETTLED)
        await crew.shares()
        after = {key: name for name, keys in (await crew.owners()).items() for key in keys}
        newcomer = list(crew.workers)[-1]
        moved = {key for key in after if after[key] != before[key]}
        assert moved == {key for key in after if after[key] == newcomer}
        assert moved

    run(main())


def test_who_leaves_gives_back_at_once_and_who_dies_after_its_lease() -> None:
    async def main() -> None:
        crew = Crew(3)
        await crew.begin()
        for _ in range(3):
            crew.happens("joins", 0)
        await sleep(SETTLED)
        disturbances = await crew.control.disturbances()
        crew.happens("leaves", 0)
        await sleep(MANY.lease)  # asked for at the next page or batch, seen at the next look
        await crew.shares()
        # Nothing of who left is on its way.
        assert await crew.control.disturbances() == disturbances
        gone = next(iter(crew.workers))
        crew.happens("dies", 0)
        await sleep(MANY.lease * 0.5)
        assert (await crew.owners())[gone]
        await sleep(SETTLED)
        await crew.shares()
        assert await crew.control.disturbances() > disturbances

    run(main())


@given(
    st.integers(0, 40),
    st.lists(st.integers(0, 90), min_size=1, max_size=9),
    st.booleans(),
)
@settings(deadline=None, database=None, derandomize=True)
def test_shares_are_all_of_the_work_and_differ_by_one(
    count: int, ages: list[int], from_oldest: bool
) -> None:
    async def main() -> None:
        crew = Crew(4)
        contexts = [
            crew.context(f"w{number}", SimulatedDatabase(crew.world)) for number in range(len(ages))
        ]
        members = []
        for context, age in zip(contexts, ages, strict=True):
            control = Control(context)
            known = Members(
                replace(context, wall=partial(float, age)), control, Leases(context, control)
            )
            await known.observe()
            members.append(known)
        await sleep(MANY.lease / 4)
        for known in members:
            await known.observe()
        shares = [known.share(count, from_oldest=from_oldest) for known in members]
        assert sum(shares) == count
        assert max(shares) - min(shares) <= 1
        assert sum(known.is_oldest for known in members) == 1

    run(main())
