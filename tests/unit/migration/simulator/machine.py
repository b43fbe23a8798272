"""A whole migration in virtual time: workers, operators, an application, and everything that fails.

A seed gives the scenario: which steps the operator takes and which traps are sprung when. The
scenario can be printed and run again, whole or without some of its traps.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.migration._barrier import BarrierError
from deploy.migration._context import Context, Settings
from deploy.migration._items import MARK, Item, live
from deploy.migration._verify import Verification
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
from tests.unit.migration.simulator.tables import SimulatedStream, SimulatedTable
from tests.unit.migration.simulator.virtual_time import run, sleep

SETTINGS = Settings(
    segments=3, page=3, scan_page=3, batch=3, concurrency=3, poll=0.3, look=0.5, discover=1.0, successor=20.0,
    lease=2.0, settle=5.0, gate_lease=0.3, longest_request=0.5, fence=8.0, units_per_second=50.0,
    max_lag_to_switch=3.0, touched_to_switch=2, clock_skew=1.0,
)  # fmt: skip
LATEST = 4.0
"""An unanswered call may be carried out so much later, a process stand still so long."""
QUICK = replace(SETTINGS, settle=3.2)
_QUICK_LATEST = 2.5
_TRAPS_WITHIN = 28.0
"""What thousands of seeds are played with: less waiting, and as many traps in the time that is left."""

_ATTEMPTS = 12

TRAPS = (
    # Of streams. Always so: records of a shard in their order and of two shards in none, stamps in
    # whole seconds, numbers that get a digit more, no record where nothing changed.
    "a shard splits",
    "a shard is followed by another",
    "a shard ends while it is partly read",
    "new shards are listed late",
    "reads come back empty",
    "iterators expire",
    "records are read again",
    "records are trimmed",
    "the stream is turned off and on",
    # Of processes.
    "a worker dies",
    "a worker stands still",
    "a worker joins",
    "a worker leaves",
    "the operator dies",
    "the operator stands still",
    # Of calls.
    "calls are throttled",
    "answers are lost",
    "calls take long",
    # Of the application.
    "requests that were given up land late",
)
STORIES = (
    ("switch books",),
    ("switch shelves", "reverse shelves"),
    ("switch books", "switch shelves"),
    ("switch books", "reverse books", "switch books"),
    ("switch shelves", "reverse shelves", "switch shelves"),
    ("switch books", "switch shelves", "reverse books"),
    ("switch shelves", "reverse shelves", "switch shelves", "complete shelves"),
    ("switch books", "complete books", "switch shelves"),
    ("silence", "switch books"),
    ("switch shelves", "silence", "reverse shelves"),
    ("cancel", "start", "copied", "switch books"),
    ("switch shelves", "reverse shelves", "cancel", "start", "copied", "switch shelves"),
    ("switch books", "reverse books", "cancel", "start", "copied", "switch books", "reverse books"),
)


@dataclass(frozen=True)
class Trap:
    """What is sprung, when after the beginning, and a number that says where exactly."""

    at: float
    name: str
    number: int


@dataclass(frozen=True)
class Crash:
    """The death of the workers, or of the operators, at one of all their calls, and whether what it
    was about to write is written."""

    who: str
    call: int
    fate: str


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
    crash: Crash | None = None
    latest: float = LATEST

    def __str__(self) -> str:
        traps = "".join(
            f"\n    {trap.at:6.2f} s  {trap.name} ({trap.number})" for trap in self.traps
        )
        crash = f"\n    {self.crash}" if self.crash else ""
        return f"seed {self.seed}: {', '.join(self.story)}{crash}{traps}"


def scenario(seed: int) -> Scenario:
    """The scenario of a seed.

    Seeds differ in all that mistakes need, which is not the same for each: a few kinds of traps that
    come again and again, or one of many; few items that are often written, or many; and from some
    moment on nothing is written, so that what is wrong by then stays wrong, and is seen.
    """
    chance = random.Random(f"scenario {seed}")
    kinds = chance.sample(TRAPS, chance.choice((1, 3, len(TRAPS))))
    traps = sorted(
        (
            Trap(
                round(chance.uniform(0.2, _TRAPS_WITHIN), 2),
                chance.choice(kinds),
                chance.randrange(60),
            )
            for _ in range(chance.randrange(12))
        ),
        key=lambda trap: trap.at,
    )
    story = chance.choice(STORIES)
    calm_from = chance.uniform(3.0, _TRAPS_WITHIN)
    if "silence" in story:
        calm_from *= 3600.0  # within it: a resync has something to do
    return Scenario(
        seed,
        story,
        tuple(traps),
        workers=chance.choice((1, 2, 3)),
        names=chance.choice((3, 6, 20)),
        calm_from=chance.choice((calm_from, calm_from, float("inf"))),
        latest=_QUICK_LATEST,
    )


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
    calls_of: Counter[str] = field(default_factory=Counter)
    writes_of: dict[str, list[int]] = field(default_factory=dict)
    """Which of those were writes."""
    sprung: set[str] = field(default_factory=set)
    resyncs: int = 0

    def add(self, other: Outcome) -> None:
        """Count another run too."""
        self.requests += other.requests
        self.calls += other.calls
        self.deaths += other.deaths
        self.resyncs += other.resyncs
        self.sprung |= other.sprung
        self.longest_wait = max(self.longest_wait, other.longest_wait)


class Process:
    """A process of the migration that can die, as by kill -9, and stand still."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.database = SimulatedDatabase(machine.world)
        self.database.on_death = self._died
        self.context = machine.context(name, self.database)
        self.task: asyncio.Task[None] | None = None
        self.worker: Worker | None = None
        self.leaves = False

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
        self.world = World(scenario.seed, Faults(latest_seconds=scenario.latest))
        self.outcome = Outcome()
        self._processes = 0
        self._workers: list[Process] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._operator: Process | None = None
        self._operator_dies_in: int | None = None
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._completed: set[str] = set()
        self._told: set[Cell] = set()
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
        self._join_all()
        traps = loop.create_task(self._spring())
        was_cancelled = False
        try:
            for step in ("start", "copied", *self.scenario.story):
                await self._step(step)
                if step == "cancel":
                    was_cancelled = True
                elif step == "start" and was_cancelled:
                    self._join_all()  # those that were there have ended, or go on
            traps.cancel()
            world.faults = replace(world.faults, throttled=0.0, unanswered=0.0, slow=1.0)
            await sleep(self.scenario.latest + 1.0)
            application.stopped = True
            await asyncio.gather(*writers)
            self.outcome.wrong += application.violations[:5]
            for module in ("books", "shelves"):
                if module not in self._completed:
                    await self._step(f"judge {module}")
            self._judge(application)
        finally:
            self._speaking.clear()
            for task in (*writers, *self._keepers, traps):
                task.cancel()
            for process in self._workers:
                self._count(process, "worker")
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
            clock=loop.time, wall=loop.time, sleep=sleep,
            chance=random.Random(f"{self.scenario.seed} {name} {self._processes}"),
            settings=self.settings,
        )  # fmt: skip

    # --- processes ------------------------------------------------------------------------------

    def _join_all(self) -> None:
        for _ in range(self.scenario.workers):
            self._join()

    def _join(self) -> None:
        number = len(self._keepers)
        keeper = asyncio.get_running_loop().create_task(self._keep_worker(number))
        keeper.add_done_callback(_end_with)
        self._keepers.append(keeper)

    async def _keep_worker(self, number: int) -> None:
        """A worker that is started again whenever it ends."""
        while True:
            await self._speaking.wait()
            process = Process(self, f"worker{number}")
            self._arm(process, "worker")
            process.worker = Worker(process.context)
            self._workers.append(process)
            task = process.run(process.worker.run())
            await asyncio.wait([task])
            self._count(process, "worker")
            self._workers.remove(process)
            if not task.cancelled() and task.exception() is not None:
                error = task.exception()
                raise RuntimeError(f"a worker failed: {error!r}") from error
            if not process.database.dead:
                return  # it left
            self.outcome.deaths += 1
            await sleep(0.5)

    def _arm(self, process: Process, who: str) -> None:
        crash = self.scenario.crash
        if crash is not None and crash.who == who:
            left = crash.call - self.outcome.calls_of[who]
            if left > 0:
                process.database.dies_at = left
                process.database.fate = crash.fate

    def _count(self, process: Process, who: str) -> None:
        before = self.outcome.calls_of[who]
        writes = self.outcome.writes_of.setdefault(who, [])
        writes += [before + call for call in process.database.writes]
        self.outcome.calls_of[who] += process.database.calls

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
            self._arm(process, "operator")
            task = process.run(self._carry_out(Migration(process.context), step))
            await asyncio.wait([task])
            self._count(process, "operator")
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
            await sleep(1.0)
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
            elif progress.phase in ("REPLICATING", "COPYING"):
                # The wait for a resync's copy was refused, or died with its operator.
                await migration.copied()

    async def _carry_out(self, migration: Migration, step: str) -> None:
        command, _, module = step.partition(" ")
        match command:
            case "start":
                await migration.start()
            case "copied":
                await migration.copied()
            case "switch" | "reverse":
                await self._verify(migration, step, module)
                await (migration.switch if command == "switch" else migration.reverse)(module)
            case "complete":
                await migration.complete(module)
                self._completed.add(module)
            case "cancel":
                await migration.cancel()
                self._application.strays.clear()
                self.outcome.wrong += [
                    f"left by `cancel`: {item}"
                    for table in (MONOLITH, BOOKS.table, SHELVES.table)
                    for item in self.world.tables[table.name].items.values()
                    if table != MONOLITH or MARK in item
                ]
            case "judge":
                found = await self._verify(migration, step, module)
                if found.moving:
                    self.outcome.wrong.append(f"moving without writers: {found.moving}")
                await migration.control.audit_log()
                self.outcome.wrong += [
                    f"{row.key}: {row.values['why']}"
                    for row in await migration.control.rows("quarantine#")
                ]

    async def _verify(self, migration: Migration, step: str, module: str) -> Verification:
        """Verify a module, and put right what writes that landed late have done, once they are told
        of: all of that, and nothing else."""
        for _ in range(_ATTEMPTS):
            found = await migration.verify(module)
            self._application.decide()
            strays = set(self._application.strays.values())
            others = [one for one in found.differences if one.source not in strays]
            if others:
                raise ViolationError(f"{step}: {list(map(str, others))}")
            await self._forgive(migration)
            untold = [one for one in found.differences if one.source not in self._told]
            if untold and not self.outcome.resyncs:
                raise ViolationError(f"{step}: nobody tells why {list(map(str, untold))}")
            if not found.differences:
                return found
            await migration.verify(module, repair=True)  # and more may land meanwhile
        raise ViolationError(f"{step}: not repaired: {list(map(str, found.differences))}")

    async def _forgive(self, migration: Migration) -> None:
        """A person sees that what is in quarantine was written by a request that landed late."""
        strays = {str(cell): source for cell, source in self._application.strays.items()}
        for row in await migration.control.rows("quarantine#"):
            key = row.key.removeprefix("quarantine#")
            if key in strays and "was written in the" in str(row.values["why"]):
                self._told.add(strays[key])
                await migration.forgive(key)

    # --- traps ----------------------------------------------------------------------------------

    async def _spring(self) -> None:
        for trap in self.scenario.traps:
            await sleep(max(0.0, trap.at - self.world.now()))
            self.outcome.sprung.add(trap.name)
            self._traps()[trap.name](trap.number)

    def _traps(self) -> dict[str, Callable[[int], None]]:
        return {
            "a shard splits": lambda n: self._shard(n, SimulatedStream.split),
            "a shard is followed by another": lambda n: self._shard(n, SimulatedStream.roll),
            "a shard ends while it is partly read": self._shard_ends_partly_read,
            "new shards are listed late": self._listed_late,
            "reads come back empty": lambda n: self._stream(n).read_nothing(n),
            "iterators expire": lambda n: self._stream(n).expire_iterators(),
            "records are read again": self._records_are_read_again,
            "records are trimmed": self._records_are_trimmed,
            "the stream is turned off and on": self._off_and_on,
            "a worker dies": self._worker_dies,
            "a worker stands still": self._worker_stands_still,
            "a worker joins": lambda _: self._join(),
            "a worker leaves": self._worker_leaves,
            "the operator dies": self._operator_dies,
            "the operator stands still": self._operator_stands_still,
            "calls are throttled": lambda n: self._fail(throttled=0.3, seconds=n / 10),
            "answers are lost": lambda n: self._fail(unanswered=0.15, seconds=n / 20),
            "calls take long": self._slow,
            "requests that were given up land late": self._given_up,
        }

    def _table(self, number: int) -> SimulatedTable:
        tables = [MONOLITH, BOOKS.table, SHELVES.table]
        return self.world.tables[tables[number % 3].name]

    def _stream(self, number: int) -> SimulatedStream:
        table = self._table(number)
        stream = table.stream or table.off
        assert stream is not None
        return stream

    def _shard(self, number: int, change: Callable[..., None]) -> None:
        stream = self._stream(number)
        shards = stream.open_shards()
        if shards:
            change(stream, shards[number % len(shards)])

    def _shard_ends_partly_read(self, number: int) -> None:
        """Nothing is read of it for a moment, so that its end comes before its last record."""
        stream = self._stream(number)
        stream.read_nothing(2)
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: self._shard(number, SimulatedStream.roll))

    def _listed_late(self, number: int) -> None:
        self._stream(number).list_late(self.settings.successor / 4 * number / 60)
        self._shard(number, SimulatedStream.split)

    def _records_are_trimmed(self, number: int) -> None:
        """A shard forgets up to a place near the last record that was applied. (What was never read
        is forgotten in silence, and only by a whole day: "silence".)"""
        table = self._table(number).table
        stream = self._stream(number)
        rows = {
            item["sk"]["S"]: item["values"]["M"]
            for item in self.world.tables[CONTROL.name].items.values()
        }
        # What an epoch has read the next one has still to read.
        modules = {target.table: target.module for target in (BOOKS, SHELVES)}
        state, name = (
            ("state#run", "epoch")
            if table == MONOLITH
            else (f"state#module#{modules[table]}", "stream_epoch")
        )
        if state not in rows:
            return
        prefix = f"work#{rows[state][name]['N']}#stream#{table.name}#"
        for key, values in rows.items():
            if key.startswith(prefix) and values["after"]["S"]:
                stream.forget(values["shard"]["S"], values["after"]["S"], number % 5)

    def _off_and_on(self, number: int) -> None:
        """The records in between are nowhere."""
        table = self._table(number)
        if table.stream is None:
            return
        table.off, table.stream = table.stream, None
        for shard in table.off.open_shards():
            table.off.close(shard)

        def on() -> None:
            table.stream = SimulatedStream(table.table.name, self.world.chance, self.world.now)

        asyncio.get_running_loop().call_later(number / 20, on)

    def _records_are_read_again(self, number: int) -> None:
        """A worker dies when records were applied, before it writes so down."""
        if self._workers:
            self._workers[number % len(self._workers)].database.dies_at_checkpoint = True

    def _worker_leaves(self, number: int) -> None:
        """It is asked to end, as by SIGTERM. The last one stays."""
        staying = [process for process in self._workers if not process.leaves]
        if len(staying) > 1:
            process = staying[number % len(staying)]
            assert process.worker is not None
            process.worker.stop()
            process.leaves = True

    def _operator_stands_still(self, number: int) -> None:
        if self._operator is not None:
            self._stand_still(self._operator.database, number)

    def _worker_dies(self, number: int) -> None:
        """At one of its next calls, whichever that is."""
        if self._workers:
            database = self._workers[number % len(self._workers)].database
            database.dies_at = database.calls + 1 + number

    def _worker_stands_still(self, number: int) -> None:
        if self._workers:
            self._stand_still(self._workers[number % len(self._workers)].database, number)

    def _stand_still(self, database: SimulatedDatabase, number: int) -> None:
        seconds = self.scenario.latest * number / 60
        database.stands_still_until = self.world.now() + seconds

    def _operator_dies(self, number: int) -> None:
        if self._operator is not None:
            database = self._operator.database
            database.dies_at = database.calls + 1 + number
        else:
            self._operator_dies_in = 1 + number

    def _given_up(self, number: int) -> None:
        """The application's next writes are not carried out while it waits for them."""
        shortest, longest = self.settings.longest_request, self.scenario.latest
        self._application.given_up = [
            shortest + (longest - shortest) * ((number + 23 * n) % 60) / 60
            for n in range(1 + number % 5)
        ]

    def _slow(self, number: int) -> None:
        """As where a database has more to do than it can: between what is read and what is written of
        it others write."""
        self.world.faults.slow = 2.0 + number

        def heal() -> None:
            self.world.faults.slow = 1.0

        asyncio.get_running_loop().call_later(1.0 + number / 30, heal)

    def _fail(self, *, throttled: float = 0.0, unanswered: float = 0.0, seconds: float) -> None:
        faults = self.world.faults
        faults.throttled, faults.unanswered = throttled, unanswered

        def heal() -> None:
            faults.throttled = faults.unanswered = 0.0

        asyncio.get_running_loop().call_later(seconds, heal)

    async def _silence(self) -> None:
        """No worker runs for longer than a stream remembers; the application goes on."""
        self._speaking.clear()
        for process in list(self._workers):
            process.database.die()
        await sleep(5.0)
        for stream in (self._stream(n) for n in range(3)):
            for shard in stream.open_shards():
                stream.roll(shard)
        self._application.is_slow = True
        await sleep(30 * 3600.0)
        self._application.is_slow = False
        self._speaking.set()

    # --- judgement ------------------------------------------------------------------------------

    def _judge(self, application: Application) -> None:
        """Owner and follower both hold the truth, and nothing else. (Of a module that is completed
        the source is left as it was.)"""
        completed = {MAPPING.target(module).table.name for module in self._completed}
        from_source: dict[Cell, Item] = {}
        for item in self.world.tables[MONOLITH.name].items.values():
            if not item["pk"]["S"].startswith("~migration#"):
                from_source.update(MAPPING.rows(live(item)))
        self.outcome.wrong += [
            f"source: {wrong}"
            for wrong in compare(
                {c: i for c, i in from_source.items() if c.table not in completed},
                {c: i for c, i in application.truth.items() if c.table not in completed},
            )
        ]
        in_targets: dict[Cell, Item] = {}
        for target in (BOOKS, SHELVES):
            for cell, item in self.world.tables[target.table.name].items.items():
                row = live(item)
                if row is not None and not cell.partition.startswith("~migration#"):
                    in_targets[cell] = row
        self.outcome.wrong += [f"targets: {w}" for w in compare(in_targets, application.truth)]


def _end_with(keeper: asyncio.Task[None]) -> None:
    """A worker that fails ends the run: what a callback raises, the loop does."""
    if not keeper.cancelled():
        keeper.result()


def play(scenario: Scenario, *, settings: Settings = SETTINGS) -> Outcome:
    """Run a scenario in virtual time."""
    # It takes less than a second and leaves little behind; collecting while it runs is a tenth of it.
    gc.disable()
    try:
        return run(_play(scenario, settings))
    finally:
        gc.enable()


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
