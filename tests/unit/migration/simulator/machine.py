"""A whole migration in virtual time: workers, operators, an application, and everything that fails.

A seed gives the scenario: which steps the operator takes and which traps are sprung when. The
scenario can be printed and run again, whole or without some of its traps.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.migration._barrier import BarrierError
from deploy.migration._context import Context, Settings
from deploy.migration._items import Item, live
from deploy.migration.commands import AbortedError, Migration, RefusedError
from deploy.migration.gate import Gate
from deploy.migration.mapping import Cell
from deploy.migration.worker import Worker
from tests.unit.migration.simulator.clients import Faults, SimulatedDatabase, World
from tests.unit.migration.simulator.library import (
    BOOKS,
    CONTROL,
    MAPPING,
    MONOLITH,
    SHELVES,
    Application,
    ViolationError,
    compare,
)
from tests.unit.migration.simulator.tables import SimulatedStream
from tests.unit.migration.simulator.virtual_time import run

SETTINGS = Settings(
    segments=3, page=3, batch=3, concurrency=3, poll=0.2, discover=1.0, lease=3.0, settle=10.0, gate_lease=0.3,
    longest_request=0.5, fence=8.0, units_per_second=50.0, max_lag_to_switch=3.0,
    touched_to_switch=2,
)  # fmt: skip
LATEST = 8.0
"""An unanswered call may be carried out so much later, a process stand still so long."""

_ATTEMPTS = 12

TRAPS = (
    "a shard splits",
    "a shard is followed by another",
    "iterators expire",
    "a worker dies",
    "a worker stands still",
    "the operator dies",
    "calls are throttled",
    "answers are lost",
)
STORIES = (
    ("switch books",),
    ("switch shelves", "reverse shelves"),
    ("switch books", "switch shelves"),
    ("switch books", "reverse books", "switch books"),
    ("switch shelves", "reverse shelves", "switch shelves"),
    ("switch books", "switch shelves", "reverse books"),
    ("silence", "switch books"),
    ("switch shelves", "silence", "reverse shelves"),
)


@dataclass(frozen=True)
class Trap:
    """What is sprung, when after the beginning, and a number that says where exactly."""

    at: float
    name: str
    number: int


@dataclass(frozen=True)
class Scenario:
    """Everything that a run follows from."""

    seed: int
    story: tuple[str, ...]
    traps: tuple[Trap, ...]
    workers: int = 2
    writers: int = 3
    names: int = 6
    """Books and users that there may be. The fewer, the more often each is written; the more, the
    longer a mistake stays."""
    calm_from: float = float("inf")

    def __str__(self) -> str:
        traps = "".join(
            f"\n    {trap.at:6.2f} s  {trap.name} ({trap.number})" for trap in self.traps
        )
        return f"seed {self.seed}: {', '.join(self.story)}{traps}"


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"scenario {seed}")
    traps = sorted(
        (
            Trap(round(chance.uniform(0.2, 40.0), 2), chance.choice(TRAPS), chance.randrange(60))
            for _ in range(chance.randrange(12))
        ),
        key=lambda trap: trap.at,
    )
    return Scenario(seed, chance.choice(STORIES), tuple(traps), chance.choice((1, 2, 3)))


def storm(
    seed: int,
    trap: str,
    *story: str,
    begins: float = 0.3,
    every: float = 1.6,
    numbers: tuple[int, int] = (15, 60),
    names: int = 60,
    calm_from: float = float("inf"),
) -> Scenario:
    """A scenario of one kind of trap, sprung again and again while many items are there."""
    chance = random.Random(f"storm {seed}")
    sprung = tuple(
        Trap(round(begins + every * n, 2), trap, chance.randrange(*numbers)) for n in range(30)
    )
    return Scenario(seed, story, sprung, writers=6, names=names, calm_from=calm_from)


@dataclass
class Outcome:
    """What came of a run. `wrong` is empty where nothing was lost, stale or resurrected."""

    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    calls: int = 0
    deaths: int = 0
    seconds: float = 0.0
    longest_wait: float = 0.0
    sprung: set[str] = field(default_factory=set)
    resyncs: int = 0


class Process:
    """A process of the migration that can die, as by kill -9, and stand still."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.database = SimulatedDatabase(machine.world)
        self.database.on_death = self._died
        self.context = machine.context(name, self.database)
        self.task: asyncio.Task[None] | None = None

    def run(self, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.task = asyncio.get_running_loop().create_task(main)
        return self.task

    def _died(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Machine:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario, *, settings: Settings = SETTINGS) -> None:
        self.scenario = scenario
        self.settings = settings
        self.world = World(scenario.seed, Faults(latest_seconds=LATEST))
        self.outcome = Outcome()
        self._processes = 0
        self._workers: list[Process] = []
        self._operator: Process | None = None
        self._operator_dies_in: int | None = None
        self._silent = False
        self._application: Application

    async def run(self) -> Outcome:
        """Play it, and judge what is left."""
        world = self.world
        for table, stream in ((MONOLITH, True), (CONTROL, False)):
            world.create(table, stream=stream)
        for target in (BOOKS, SHELVES):
            world.create(target.table)
        own = SimulatedDatabase(world, reliable=True)
        gate = Gate(self.context("application", own))
        application = Application(world, gate, own, self.scenario.names)
        application.calm_from = self.scenario.calm_from
        application.seed(2 * self.scenario.names)
        self._application = application
        # The stream is new: what stood before is not in it.
        monolith = world.tables[MONOLITH.name]
        monolith.stream = SimulatedStream(MONOLITH.name, world.chance, world.now)
        loop = asyncio.get_running_loop()
        chances = [random.Random(f"{self.scenario.seed}/{n}") for n in range(self.scenario.writers)]
        writers = [loop.create_task(application.use(chance)) for chance in chances]
        keepers = [loop.create_task(self._keep_worker(n)) for n in range(self.scenario.workers)]
        traps = loop.create_task(self._spring())
        try:
            for step in ("start", "copied", *self.scenario.story):
                await self._step(step)
            traps.cancel()
            world.faults = replace(world.faults, throttled=0.0, unanswered=0.0)
            await asyncio.sleep(5.0)
            application.stopped = True
            await asyncio.gather(*writers)
            self.outcome.wrong += application.violations[:5]
            for module in ("books", "shelves"):
                await self._step(f"judge {module}")
            self._judge(application)
        finally:
            self._silent = True
            for task in (*writers, *keepers, traps):
                task.cancel()
            for process in self._workers:
                process.database.die()
        self.outcome.requests = application.requests
        self.outcome.longest_wait = application.longest_wait
        self.outcome.calls = world.calls
        self.outcome.seconds = world.now()
        return self.outcome

    def context(self, name: str, database: SimulatedDatabase) -> Context:
        self._processes += 1
        loop = asyncio.get_running_loop()
        return Context(
            name=f"{name}-{self._processes}", mapping=MAPPING, database=database, control=CONTROL,
            clock=loop.time, wall=loop.time, sleep=asyncio.sleep,
            chance=random.Random(f"{self.scenario.seed} {name} {self._processes}"),
            settings=self.settings,
        )  # fmt: skip

    # --- processes ------------------------------------------------------------------------------

    async def _keep_worker(self, number: int) -> None:
        """A worker that is started again whenever it ends."""
        while True:
            if self._silent:
                await asyncio.sleep(60.0)
                continue
            process = Process(self, f"worker{number}")
            self._workers.append(process)
            task = process.run(Worker(process.context).run())
            await asyncio.wait([task])
            self._workers.remove(process)
            if not task.cancelled() and task.exception() is not None:
                error = task.exception()
                raise RuntimeError(f"a worker failed: {error!r}") from error
            self.outcome.deaths += process.database.dead
            await asyncio.sleep(0.5)

    async def _step(self, step: str) -> None:
        """An operator's step, made again until it is done, by a new process after each death."""
        if step == "silence":
            await self._silence()
            return
        for _ in range(_ATTEMPTS):
            process = Process(self, "operator")
            self._operator = process
            if self._operator_dies_in is not None:
                process.database.dies_at = self._operator_dies_in
                self._operator_dies_in = None
            task = process.run(self._carry_out(Migration(process.context), step))
            await asyncio.wait([task])
            self._operator = None
            if task.cancelled():
                self.outcome.deaths += 1
                continue
            error = task.exception()
            if error is None:
                return
            if not isinstance(error, RefusedError | AbortedError | BarrierError):
                raise error
            await self._recover()
            await asyncio.sleep(1.0)
        raise AssertionError(f"{step!r} was never carried out: {error}")

    async def _recover(self) -> None:
        process = Process(self, "operator")
        migration = Migration(process.context)
        with suppress(RefusedError):
            progress = await migration.progress()
            if progress.phase == "POSITION_LOST" or any(m.lost for m in progress.modules):
                self.outcome.resyncs += 1
                await migration.resync()
                await migration.copied()

    async def _carry_out(self, migration: Migration, step: str) -> None:
        command, _, module = step.partition(" ")
        match command:
            case "start":
                await migration.start()
            case "copied":
                await migration.copied()
            case "switch" | "reverse":
                found = await migration.verify(module)
                if found.differences:
                    raise ViolationError(f"{step}: {list(map(str, found.differences))}")
                await (migration.switch if command == "switch" else migration.reverse)(module)
            case "judge":
                found = await migration.verify(module)
                self.outcome.wrong += [f"verify: {difference}" for difference in found.differences]
                if found.moving:
                    self.outcome.wrong.append(f"moving without writers: {found.moving}")
                await migration.control.audit_log()
                self.outcome.wrong += [
                    f"{row.key}: {row.values['why']}"
                    for row in await migration.control.rows("quarantine#")
                ]

    # --- traps ----------------------------------------------------------------------------------

    async def _spring(self) -> None:
        for trap in self.scenario.traps:
            await asyncio.sleep(max(0.0, trap.at - self.world.now()))
            self.outcome.sprung.add(trap.name)
            self._traps()[trap.name](trap.number)

    def _traps(self) -> dict[str, Callable[[int], None]]:
        return {
            "a shard splits": lambda n: self._shard(n, SimulatedStream.split),
            "a shard is followed by another": lambda n: self._shard(n, SimulatedStream.roll),
            "iterators expire": lambda n: self._stream(n).expire_iterators(),
            "a worker dies": self._worker_dies,
            "a worker stands still": self._worker_stands_still,
            "the operator dies": self._operator_dies,
            "calls are throttled": lambda n: self._fail(throttled=0.3, seconds=n / 10),
            "answers are lost": lambda n: self._fail(unanswered=0.15, seconds=n / 20),
        }

    def _stream(self, number: int) -> SimulatedStream:
        tables = [MONOLITH, BOOKS.table, SHELVES.table]
        stream = self.world.tables[tables[number % 3].name].stream
        assert stream is not None
        return stream

    def _shard(self, number: int, change: Callable[..., None]) -> None:
        stream = self._stream(number)
        shards = stream.open_shards()
        change(stream, shards[number % len(shards)])

    def _worker_dies(self, number: int) -> None:
        """At one of its next calls, whichever that is."""
        if self._workers:
            database = self._workers[number % len(self._workers)].database
            database.dies_at = database.calls + 1 + number

    def _worker_stands_still(self, number: int) -> None:
        if self._workers:
            database = self._workers[number % len(self._workers)].database
            database.stands_still_until = self.world.now() + LATEST * number / 60

    def _operator_dies(self, number: int) -> None:
        if self._operator is not None:
            database = self._operator.database
            database.dies_at = database.calls + 1 + number
        else:
            self._operator_dies_in = 1 + number

    def _fail(self, *, throttled: float = 0.0, unanswered: float = 0.0, seconds: float) -> None:
        faults = self.world.faults
        faults.throttled, faults.unanswered = throttled, unanswered

        def heal() -> None:
            faults.throttled = faults.unanswered = 0.0

        asyncio.get_running_loop().call_later(seconds, heal)

    async def _silence(self) -> None:
        """No worker runs for longer than a stream remembers; the application goes on."""
        self._silent = True
        for process in list(self._workers):
            process.database.die()
        await asyncio.sleep(5.0)
        for stream in (self._stream(n) for n in range(3)):
            for shard in stream.open_shards():
                stream.roll(shard)
        self._application.is_slow = True
        await asyncio.sleep(30 * 3600.0)
        self._application.is_slow = False
        self._silent = False

    # --- judgement ------------------------------------------------------------------------------

    def _judge(self, application: Application) -> None:
        """Owner and follower both hold the truth, and nothing else."""
        monolith = self.world.tables[MONOLITH.name].items
        from_source: dict[Cell, Item] = {}
        for item in monolith.values():
            if not item["pk"]["S"].startswith("~migration#"):
                from_source.update(MAPPING.rows(live(item)))
        self.outcome.wrong += [f"source: {w}" for w in compare(from_source, application.truth)]
        in_targets: dict[Cell, Item] = {}
        for target in (BOOKS, SHELVES):
            for cell, item in self.world.tables[target.table.name].items.items():
                row = live(item)
                if row is not None and not cell.partition.startswith("~migration#"):
                    in_targets[cell] = row
        self.outcome.wrong += [f"targets: {w}" for w in compare(in_targets, application.truth)]


def play(scenario: Scenario, *, settings: Settings = SETTINGS) -> Outcome:
    """Run a scenario in virtual time."""
    return run(_play(scenario, settings))


async def _play(scenario: Scenario, settings: Settings) -> Outcome:
    return await Machine(scenario, settings=settings).run()


def shrunk(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """The scenario without the traps that its failure does not need."""
    traps = list(scenario.traps)
    for trap in scenario.traps:
        without = [other for other in traps if other is not trap]
        if fails(replace(scenario, traps=tuple(without))):
            traps = without
    return replace(scenario, traps=tuple(traps))
