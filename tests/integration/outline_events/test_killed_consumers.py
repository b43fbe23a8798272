"""Ended at random while events flow, with -9 a hundred times, with SIGTERM twenty: nothing is lost,
nothing older wins; and what was stopped with SIGTERM leaves nothing that others would wait for."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.backends import Backend
from tests.integration.outline_events.way import (
    Way,
    consumer_process,
    eventually,
    start,
    way,
)
from tests.integration.service_process import DEADLINE_SECONDS
from tests.unit.progress_tracking.simulated_queue import event

pytestmark = pytest.mark.timeout(400)

KILLS = 100
STOPS = 20
COURSES = 12
BURST = 6
# How long one lives once it consumes: from its first poll to well after its first deletions.
LIFE_SECONDS = 0.25


class Consumers:
    """One process after another, each forked ready to go; their lines in one place."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[bytes] = []
        self.child = 0

    async def start(self) -> None:
        """Fork the next, once the last one has ended, and wait until it consumes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"start\n")
        self.child = 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            consuming = False
            while not (self.child and consuming):
                line = await self._process.stdout.readline()
                if not line:
                    raise RuntimeError(b"".join(self.lines[-20:]).decode())
                self.lines.append(line)
                if line.startswith(b"pid "):
                    self.child = int(line.removeprefix(b"pid "))
                # Of the last one nothing comes any more: it was reaped before this was forked.
                consuming = consuming or b'"event":"consuming"' in line

    def kill(self) -> None:
        os.kill(self.child, signal.SIGKILL)

    async def stop(self) -> dict[str, Any]:
        """SIGTERM; its last line, once it has ended."""
        assert self._process.stdout is not None
        os.kill(self.child, signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while line := await self._process.stdout.readline():
                self.lines.append(line)
                if b'"event":"stopped"' in line:
                    break
        last: dict[str, Any] = json.loads(self.lines[-1])
        return last

    async def end(self) -> None:
        if self.child:
            with suppress(ProcessLookupError):
                self.kill()
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def consumers(variables: Mapping[str, str]) -> AsyncIterator[Consumers]:
    module = "tests.integration.outline_events.forked_consumer"
    running = Consumers(await start(module, variables, stdin=True))
    try:
        yield running
    finally:
        await running.end()


async def send_burst(on: Way, chance: random.Random, newest: dict[str, int]) -> None:
    """New versions of some courses, out of order, with some of the old ones among them and twice."""
    bodies = []
    for _ in range(BURST):
        course_id = f"course-{chance.randrange(COURSES)}"
        newest[course_id] = newest.get(course_id, 0) + 1
        bodies.append(event(course_id, newest[course_id]))
        if chance.random() < 0.5:
            bodies.append(event(course_id, chance.randint(1, newest[course_id])))
    chance.shuffle(bodies)
    await asyncio.gather(*map(on.publish, bodies))


async def test_a_hundred_kills_lose_nothing_and_let_nothing_older_win(
    ministack_backend: Backend,
) -> None:
    chance = random.Random(20260301)
    newest: dict[str, int] = {}
    known: dict[str, int] = {}
    interrupted = 0
    # A kill costs what is held a delivery, and on a slow machine the same messages each time; but
    # for that, nothing here is a message's fault, and nothing may be parked.
    async with way(ministack_backend, max_receive_count=KILLS + 5) as on:
        async with consumers(on.variables()) as running:
            for _ in range(KILLS):
                await running.start()
                await asyncio.gather(
                    send_burst(on, chance, newest), asyncio.sleep(chance.random() * LIFE_SECONDS)
                )
                running.kill()
                now = await on.versions(newest)
                assert all(now.get(course_id, 0) >= version for course_id, version in known.items())
                known = now
                interrupted += await on.waiting(on.queue_url) > 0
        async with consumer_process(on.variables()) as last:

            async def empty() -> bool:
                return await on.waiting(on.queue_url) == 0

            await eventually(empty)
            assert await last.stop() == 0
        assert await on.versions(newest) == newest
        assert await on.waiting(on.parked_url) == 0
    # The kills came in the midst of work, and work was done between them.
    assert interrupted > KILLS / 4
    assert known


async def stop_after(running: Consumers, seconds: float) -> dict[str, Any]:
    await asyncio.sleep(seconds)
    return await running.stop()


async def test_twenty_stops_leave_nothing_behind(ministack_backend: Backend) -> None:
    """What one has received and not finished is there for the next at once, and not in an hour."""
    chance = random.Random(20260302)
    newest: dict[str, int] = {}
    interrupted = 0
    async with way(ministack_backend, max_receive_count=STOPS + 5) as on:
        variables = on.variables(PROGRESS_OUTLINE_VISIBILITY_SECONDS="3600")
        async with consumers(variables) as running:
            for _ in range(STOPS):
                await running.start()
                stopping = asyncio.create_task(stop_after(running, chance.random() * LIFE_SECONDS))
                await send_burst(on, chance, newest)
                last = await stopping
                assert last["drained"] is True, last
                interrupted += await on.waiting(on.queue_url) > 0
        async with consumer_process(variables) as next_one:

            async def empty() -> bool:
                return await on.waiting(on.queue_url) == 0

            await eventually(empty)
            assert await next_one.stop() == 0
        assert await on.versions(newest) == newest
        assert await on.waiting(on.parked_url) == 0
    assert interrupted > 0
