"""Tables are split, given back and split for good while they are used and workers are killed.

Workers are processes of the command line, with delays where a copy that is naive would lose, and are
killed (SIGKILL) at random moments, often one more while the work of the last is being taken over;
writers and readers go on. The history of every request is then held against what may be seen, and the
tables against what was acknowledged. What was under way when each one died is counted.

`LYCEUM_MIGRATION_KILLS` says how many there are on MiniStack and moto together, which are played at the
same time: 20, half of them on each. Of 200, MiniStack has all but ten: moto walks through all items of a
table for each Query, and has one change of owner then.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import pytest

from deploy.local._environment import REPOSITORY_ROOT
from deploy.migration._barrier import BarrierError
from deploy.migration._context import Settings
from deploy.migration._control import QUARANTINE
from deploy.migration._forward import BY_WHOM
from deploy.migration.commands import AbortedError, Migration, RefusedError
from deploy.migration.mapping import SplitMapping, Table
from deploy.migration.mappings.lyceum import CONTENT, PROGRESS
from tests.backends import Backend
from tests.integration.migration.live_application import LONGEST_PAUSE
from tests.integration.migration.live_stage import Stage, judge, staged, used

KILLS = int(os.environ.get("LYCEUM_MIGRATION_KILLS", "20"))
WORKERS = 2
SETTINGS = Settings(
    segments=3, page=10, scan_page=10, batch=20, poll=0.2, look=0.4, discover=1.0, lease=4.0, settle=3.0,
    gate_lease=0.3, longest_request=2.0, fence=30.0, max_lag_to_switch=10.0, units_per_second=1e6,
)  # fmt: skip
LONGEST_DELAY = 0.4
SLOW_SECONDS = 2200
"""Far above what it takes where nobody else computes."""
ATTEMPTS = 25

STEPS = ("verify", "before the fence", "fence", "drain")
"""Of a change of owner: where somebody is to die."""
TOLD = {
    "verifying": "verify",
    "requests wait; those under way": "fence",
    "requests wait; replication": "drain",
    "requests wait": "compare",
}
"""What is under way, by what the command tells of it."""


@dataclass(frozen=True)
class Story:
    """A whole migration: with how much to move, the changes of the owner of each module in their order,
    and how many are killed for each of its parts."""

    keys: int
    changes: Mapping[str, Sequence[str]]
    copy: int
    change: int
    at_a_step: int
    """Of a change's, so many die within one step: the others' turn is another one's."""
    complete: int
    seconds: Mapping[str, float]
    """Within how many of the beginning of a step somebody dies."""

    @property
    def kills(self) -> int:
        return self.copy + self.change * self.changes_in_all + self.complete

    @property
    def changes_in_all(self) -> int:
        return sum(map(len, self.changes.values()))


SHORT = Story(
    keys=40, changes={PROGRESS.module: ("switch", "reverse"), CONTENT.module: ("switch",)},
    copy=3, change=2, at_a_step=1, complete=1,
    seconds={"copy": 8.0, "verify": 2.0, "before the fence": 1.5, "fence": 2.3, "drain": 1.0, "complete": 0.5},
)  # fmt: skip
ONE_CHANGE = replace(SHORT, changes={CONTENT.module: ("switch",)}, copy=4, change=4, complete=2)
LONG = replace(
    SHORT,
    copy=40,
    change=48,
    at_a_step=12,
    complete=6,
    seconds={
        "copy": 16.0,
        "verify": 6.0,
        "before the fence": 4.0,
        "fence": 2.3,
        "drain": 4.0,
        "complete": 2.0,
    },
)


class Workers:
    """Processes of the command line, made of one that is loaded: one that was killed is followed at
    once."""

    def __init__(self, backend: Backend, split: SplitMapping, control: Table) -> None:
        names = {
            "source": split.source.name,
            "control": control.name,
            **{target.module: target.table.name for target in split.targets},
        }
        command = [
            sys.executable, "-m", "tests.integration.migration.delayed_worker",
            split.source.name, str(LONGEST_DELAY),
            "worker", "--mapping", "deploy.migration.mappings.lyceum",
            *(part for name, table in names.items() for part in ("--table", f"{name}={table}")),
        ]  # fmt: skip
        variables = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        variables |= backend.variables
        variables["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY_ROOT), *filter(None, sys.path)])
        self._loaded = subprocess.Popen(
            command, cwd=REPOSITORY_ROOT, env=variables, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._running: list[int] = []
        self.kills = 0

    def begin(self) -> None:
        """One more works."""
        assert self._loaded.stdin is not None
        assert self._loaded.stdout is not None
        self._loaded.stdin.write("\n")
        self._loaded.stdin.flush()
        self._running.append(int(self._loaded.stdout.readline()))

    @property
    def running(self) -> tuple[int, ...]:
        """Their process ids."""
        return tuple(self._running)

    def kill(self, worker: int) -> None:
        """End one as by kill -9, which raises where it has ended by itself; another takes its
        place."""
        self._running.remove(worker)
        os.kill(worker, signal.SIGKILL)
        self.kills += 1
        self.begin()

    def end(self) -> None:
        for process in self._running:
            os.kill(process, signal.SIGKILL)
        self._loaded.communicate()


@asynccontextmanager
async def working(backend: Backend, split: SplitMapping, control: Table) -> AsyncIterator[Workers]:
    workers = Workers(backend, split, control)
    try:
        await asyncio.to_thread(workers.begin)  # the first one waits until all is loaded
        for _ in range(WORKERS - 1):
            workers.begin()
        yield workers
    finally:
        workers.end()


@dataclass
class Report:
    """What came of all migrations on one backend."""

    migrations: int = 0
    kills: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    requests: int = 0
    writes: int = 0
    retried: int = 0
    late: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    items: int = 0
    copy_seconds: float = 0.0
    moments: Counter[str] = field(default_factory=Counter)
    held: int = 0
    seconds: float = 0.0

    def add(self, stage: Stage, workers: Workers) -> None:
        application = stage.application
        self.migrations += 1
        self.kills += workers.kills
        self.reads += len(application.reads)
        self.writes += len(application.writes)
        self.requests += application.facts.requests
        self.retried += application.facts.retried
        self.failed += application.facts.failed
        self.waits += application.facts.waits

    def __str__(self) -> str:
        words = Counter(line.split()[0] for line in self.wrong)
        return (
            f"{self.migrations} migrations, {self.kills} kills: {self.requests} requests, "
            f"{self.writes} writes and {self.reads} reads; {words['LOST']} lost, "
            f"{words['STALE']} stale, {words['RESURRECTED']} resurrected, "
            f"{len(self.failed)} failed, {self.retried} made twice, "
            f"{self.late} landed late; "
            f"{self.refused.total()} commands refused or given up, and made again "
            f"({'; '.join(f'{times}: {why}' for why, times in self.refused.most_common(4))}); "
            f"pauses of switches {_percentiles(self.pauses)}, "
            f"waits of requests that met a fence {_percentiles(self.waits)}; "
            f"{self.items / self.copy_seconds:.0f} items/s copied, under kills and delays"
            f"; {self.seconds:.0f} s; {self.held} of the killed held work; killed during "
            + ", ".join(f"{what} {times}" for what, times in self.moments.most_common())
        )


def _percentiles(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    return f"p50 {at(0.5):.2f} s, p99 {at(0.99):.2f} s, max {ordered[-1]:.2f} s"


class Operator:
    """Gives the commands of a whole migration, each until it is carried out, while workers die."""

    def __init__(
        self, stage: Stage, story: Story, workers: Workers, report: Report, seed: int
    ) -> None:
        self._story = story
        self._workers = workers
        self._report = report
        self._chance = random.Random(f"{seed} kills")
        self._command = ""
        self._step = ""
        self._due: list[str] = []
        self._dying: list[asyncio.Task[None]] = []
        self.migration = Migration(stage.operator, tell=self._hear)

    async def migrate(self) -> None:
        """There, back and there again; content for good."""
        migration = self.migration
        await migration.start()
        began = time.monotonic()
        await self._until_done("copy", migration.copied, self._story.copy)
        progress = await migration.progress()
        self._report.items += progress.items
        self._report.copy_seconds += time.monotonic() - began
        for module, commands in self._story.changes.items():
            for command in commands:
                await self._until_done(
                    command,
                    partial(self._owner, getattr(migration, command), module),
                    self._story.change,
                )
        complete = partial(migration.complete, CONTENT.module)
        await self._until_done("complete", complete, self._story.complete)
        # What a step was too short for.
        self._command = ""
        for step in [*self._due]:
            self._due.remove(step)
            self._let_die("after it", 1.0)
        await asyncio.gather(*self._dying)

    def _hear(self, what: str, done: float, total: float) -> None:
        if self._command in ("switch", "reverse"):
            told = (step for words, step in TOLD.items() if what.startswith(words))
            self._begin(next(told, "before the fence"))

    def _begin(self, step: str) -> None:
        """Whoever is to die in this step does, at some moment of it."""
        if step == self._step:
            return
        self._step = step
        for _ in range(self._due.count(step)):
            self._due.remove(step)
            self._let_die(step, self._story.seconds[step])

    def _let_die(self, step: str, within: float) -> None:
        after = self._chance.uniform(0.0, within)
        self._dying.append(asyncio.create_task(self._kill(after)))

    async def _kill(self, after: float) -> None:
        await asyncio.sleep(after)
        # Who has work, where somebody has: leases are their owner's until others take them over.
        work = await self.migration.control.rows("work#")
        at_work = [
            worker
            for worker in self._workers.running
            if any(f"/{worker}-" in str(row.values.get("owner")) for row in work)
        ]
        self._workers.kill(self._chance.choice(at_work or self._workers.running))
        self._report.held += bool(at_work)
        moment = self._command if self._step == self._command else f"{self._command} {self._step}"
        self._report.moments[moment.strip() or "after it"] += 1

    async def _owner(self, command: Callable[[str], Awaitable[float | None]], module: str) -> None:
        await self.put_right(module)
        pause = await command(module)
        if pause is not None:
            self._report.pauses.append(pause)

    async def put_right(self, module: str) -> None:
        """What a request has done that was given up and landed in a store that was no longer the
        owner: it is told, or else it is a difference that nothing explains."""
        migration = self.migration
        found = await migration.verify(module)
        told = {
            row.key.removeprefix(QUARANTINE): row
            for row in await migration.control.rows(QUARANTINE)
            if BY_WHOM in row.values["why"]
        }
        unexplained = [
            str(one)
            for one in found.differences
            if not {str(one.source), str(one.cell)} & told.keys()
        ]
        assert unexplained == []
        if found.differences:
            found = await migration.verify(module, repair=True)
            assert found.differences == ()
        for key in told:
            self._report.late += 1
            await migration.forgive(key)

    async def _until_done(
        self, name: str, command: Callable[[], Awaitable[object]], kills: int
    ) -> None:
        """So many more are killed at moments of it. What was refused, because a worker vanished a
        moment ago, is tried again."""
        self._command = name
        steps = STEPS if name in ("switch", "reverse") else (name,)
        at_each = self._story.at_a_step if len(steps) > 1 else kills
        self._due += self._chance.sample(steps, kills // at_each) * at_each
        for _ in range(ATTEMPTS):
            self._begin(steps[0])
            try:
                await command()
                return
            except (RefusedError, AbortedError, BarrierError) as error:
                self._report.refused[str(error)[:60]] += 1
                await asyncio.sleep(SETTINGS.poll)
        raise AssertionError("the command was never carried out")


async def played(
    name: str, backend: Backend, story: Story, kills: int, longest_pause: float
) -> None:
    """As many migrations as it takes to kill so many."""
    report = Report()
    began = time.monotonic()
    for seed in count():
        async with (
            staged(backend, seed, SETTINGS, keys=story.keys, longest_pause=longest_pause) as stage,
            working(backend, stage.split, stage.control) as workers,
        ):
            operator = Operator(stage, story, workers, report, seed)
            async with used(stage.application, seed):
                await operator.migrate()
            await operator.put_right(PROGRESS.module)
            # Nobody writes any more: the follower comes to be as the owner is.
            found = await operator.migration.verify(PROGRESS.module)
            assert (found.differences, found.moving) == ((), ())
            report.add(stage, workers)
            report.wrong += await judge(stage)
            assert len(await operator.migration.control.audit_log()) > 10
        if report.kills >= kills:
            break
    report.seconds = time.monotonic() - began
    sys.stdout.write(f"\n{name}: {report}\n")
    assert report.wrong == []
    assert report.failed == []
    assert report.moments.total() == report.kills
    assert len(report.pauses) == story.changes_in_all * report.migrations
    assert report.reads > 100
    assert report.writes > 100


@pytest.mark.timeout(SLOW_SECONDS)
async def test_workers_that_are_killed_lose_nothing(
    ministack_backend: Backend, moto_backend: Backend
) -> None:
    of_moto = min(KILLS // 2, SHORT.kills)
    of_ministack = KILLS - of_moto
    on_ministack, on_moto = (SHORT, SHORT) if of_ministack < LONG.kills else (LONG, ONE_CHANGE)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            played("ministack", ministack_backend, on_ministack, of_ministack, LONGEST_PAUSE)
        )
        # Asked as often, it would have no time left, and replication would be behind.
        group.create_task(played("moto", moto_backend, on_moto, of_moto, 2 * LONGEST_PAUSE))
