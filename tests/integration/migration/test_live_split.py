"""Tables are split, given back and split for good while they are used and workers are killed.

Workers are processes of the command line, with delays where a copy that is naive would lose, and are
killed (SIGKILL) at random moments of every step; writers and readers go on. The history of every
request is then held against what may be seen, and the tables against what was acknowledged.

`LYCEUM_MIGRATION_KILLS` says how many there are on each of MiniStack and moto.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest

from deploy.local._environment import REPOSITORY_ROOT
from deploy.migration._barrier import BarrierError
from deploy.migration._context import Settings
from deploy.migration._control import QUARANTINE
from deploy.migration._forward import BY_WHOM
from deploy.migration.commands import AbortedError, RefusedError
from deploy.migration.mapping import SplitMapping, Table
from deploy.migration.mappings.lyceum import CONTENT, PROGRESS
from tests.backends import Backend
from tests.integration.migration.live_stage import Stage, judge, staged, used

KILLS = int(os.environ.get("LYCEUM_MIGRATION_KILLS", "10"))
KEYS = 60
WORKERS = 2
SETTINGS = Settings(
    segments=3, page=20, batch=20, poll=0.2, look=0.4, discover=2.0, lease=4.0, settle=3.0,
    gate_lease=0.3, longest_request=2.0, fence=30.0, max_lag_to_switch=10.0, units_per_second=1e6,
)  # fmt: skip
LONGEST_DELAY = 0.4
SLOW_SECONDS = 1400
"""Far above what it takes where nobody else computes."""
ATTEMPTS = 25


class Workers:
    """Processes of the command line; one more is loaded and waits, so that one that was killed is
    followed at once."""

    def __init__(self, backend: Backend, split: SplitMapping, control: Table) -> None:
        self._backend = backend
        names = {
            "source": split.source.name,
            "control": control.name,
            **{target.module: target.table.name for target in split.targets},
        }
        self._command = [
            sys.executable, "-m", "tests.integration.migration.delayed_worker",
            split.source.name, str(LONGEST_DELAY),
            "worker", "--mapping", "deploy.migration.mappings.lyceum",
            *(part for name, table in names.items() for part in ("--table", f"{name}={table}")),
        ]  # fmt: skip
        self._spare = self._load()
        self.running: list[subprocess.Popen[str]] = []
        self.kills = 0

    def begin(self) -> None:
        """One more works."""
        process, self._spare = self._spare, self._load()
        assert process.stdin is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
        self.running.append(process)

    def kill(self, number: int) -> None:
        """End one as by kill -9; another takes its place."""
        process = self.running.pop(number % len(self.running))
        assert process.poll() is None, "a worker ended by itself"
        process.kill()
        process.wait()
        self.kills += 1
        self.begin()

    def end(self) -> None:
        for process in (*self.running, self._spare):
            process.kill()
            process.communicate()

    def _load(self) -> subprocess.Popen[str]:
        variables = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        variables |= self._backend.variables
        variables["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY_ROOT), *filter(None, sys.path)])
        return subprocess.Popen(
            self._command, cwd=REPOSITORY_ROOT, env=variables, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip


@contextmanager
def working(backend: Backend, split: SplitMapping, control: Table) -> Iterator[Workers]:
    workers = Workers(backend, split, control)
    try:
        for _ in range(WORKERS):
            workers.begin()
        yield workers
    finally:
        workers.end()


@dataclass
class Report:
    """What came of all migrations on one backend."""

    migrations: int = 0
    kills: int = 0
    refused: int = 0
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
            f"{self.refused} commands refused or given up, and made again; "
            f"pauses of switches {_percentiles(self.pauses)}, "
            f"waits of requests that met a fence {_percentiles(self.waits)}; "
            f"{self.items / self.copy_seconds:.0f} items/s copied, under kills and delays"
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

    def __init__(self, stage: Stage, workers: Workers, report: Report, seed: int) -> None:
        self._stage = stage
        self._workers = workers
        self._report = report
        self._chance = random.Random(f"{seed} kills")

    async def migrate(self) -> None:
        """There, back and there again; content for good."""
        migration = self._stage.migration
        await migration.start()
        began = time.monotonic()
        await self._until_done(migration.copied, longest=2.5)
        progress = await migration.progress()
        self._report.items += progress.items
        self._report.copy_seconds += time.monotonic() - began
        for module, commands in (
            (CONTENT.module, (migration.switch, migration.reverse, migration.switch)),
            (PROGRESS.module, (migration.switch, migration.reverse, migration.switch)),
        ):
            for command in commands:
                await self._until_done(partial(self._owner, command, module), longest=6.0)
        await self._until_done(lambda: migration.complete(CONTENT.module), longest=0.5)

    async def _owner(self, command: Callable[[str], Awaitable[float | None]], module: str) -> None:
        await self.put_right(module)
        pause = await command(module)
        if pause is not None:
            self._report.pauses.append(pause)

    async def put_right(self, module: str) -> None:
        """What a request has done that was given up and landed in a store that was no longer the
        owner: it is told, or else it is a difference that nothing explains."""
        migration = self._stage.migration
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

    async def _until_done(self, command: Callable[[], Awaitable[object]], longest: float) -> None:
        """A worker is killed at some moment of it, and, where the command takes longer, once more.
        What was refused, because a worker vanished a moment ago, is tried again without."""
        killing = asyncio.create_task(self._kill(longest))
        try:
            for _ in range(ATTEMPTS):
                try:
                    await command()
                    return
                except (RefusedError, AbortedError, BarrierError):
                    self._report.refused += 1
                    await asyncio.sleep(SETTINGS.poll)
            raise AssertionError("the command was never carried out")
        finally:
            killing.cancel()
            with suppress(asyncio.CancelledError):
                await killing

    async def _kill(self, longest: float) -> None:
        for _ in range(2):
            await asyncio.sleep(self._chance.uniform(0.0, longest))
            self._workers.kill(self._chance.randrange(WORKERS))


@pytest.mark.timeout(SLOW_SECONDS)
@pytest.mark.parametrize("name", ["ministack", "moto"])
async def test_workers_that_are_killed_lose_nothing(
    name: str, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(f"{name}_backend")
    report = Report()
    for seed in count():
        async with staged(backend, seed, SETTINGS, keys=KEYS) as stage:
            with working(backend, stage.split, stage.control) as workers:
                operator = Operator(stage, workers, report, seed)
                async with used(stage.application, seed):
                    await operator.migrate()
                await operator.put_right(PROGRESS.module)
                # Nobody writes any more: the follower comes to be as the owner is.
                found = await stage.migration.verify(PROGRESS.module)
                assert (found.differences, found.moving) == ((), ())
                report.add(stage, workers)
                report.wrong += await judge(stage)
                assert len(await stage.migration.control.audit_log()) > 20
        if report.kills >= KILLS:
            break
    sys.stdout.write(f"\n{name}: {report}\n")
    assert report.wrong == []
    assert report.failed == []
    assert len(report.pauses) == 6 * report.migrations
    assert report.reads > 100
    assert report.writes > 100
