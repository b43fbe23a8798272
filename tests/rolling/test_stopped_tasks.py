"""Tasks that are stopped, told to stop past the load balancer, and killed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.load.steady import SteadyLoad
from tests.rolling.cluster import RunningCluster, Task
from tests.rolling.conftest import TASKS, Digests
from tests.rolling.variants import SPOT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

CATALOG, PROGRESS = "course_catalog", "progress_tracking"


async def test_a_stopped_task_drops_nothing_and_ends_with_0(
    cluster: RunningCluster, load: SteadyLoad
) -> None:
    """ECS tells the load balancer first, then the task."""
    stopped = next(iter(await cluster.tasks(PROGRESS)))
    async with load.running():
        await cluster.stop_task(stopped)
        ended = await cluster.ended(stopped)
        await cluster.until_steady(PROGRESS, TASKS)
    assert [container["exitCode"] for container in ended["containers"]] == [0]
    assert [str(failure) for failure in load.failures] == []
    assert await load.lost_writes() == []


async def test_requests_in_flight_end_after_sigterm(cluster: RunningCluster) -> None:
    """Half of each request has come when the tasks are told to stop, and nobody told the load
    balancer."""
    tasks = await cluster.tasks(PROGRESS)
    # They go to whoever has fewer under way: each task gets some.
    slow = [SlowWrite(cluster, number) for number in range(2 * TASKS)]
    try:
        for write in slow:
            await write.begin()
        began = time.monotonic()
        for task in tasks.values():
            await cluster.signal(task, "TERM")
        await asyncio.gather(*map(_until_draining, tasks.values()))
        statuses = await asyncio.gather(*(write.end() for write in slow))
        assert statuses == [201] * len(slow)
    finally:
        for write in slow:
            write.close()
    for task_id in tasks:
        ended = await cluster.ended(task_id)
        assert [container["exitCode"] for container in ended["containers"]] == [0]
    sys.stdout.write(f"\nended {time.monotonic() - began:.1f} s after SIGTERM\n")
    await cluster.until_steady(PROGRESS, TASKS)


async def test_sigterm_past_the_balancer_drops_nothing_where_that_is_provided_for(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad
) -> None:
    """As on Fargate Spot: health checks alone tell the load balancer, after two of them."""
    released = await cluster.deploy(CATALOG, digests[CATALOG, SPOT.version])
    assert released.exit_code == 0, released
    told = next(iter((await cluster.tasks(CATALOG)).values()))
    async with load.running():
        await cluster.signal(told, "TERM")
        ended = await cluster.ended(told.id)
        await cluster.until_steady(CATALOG, TASKS)
    assert [container["exitCode"] for container in ended["containers"]] == [0]
    assert [str(failure) for failure in load.failures] == []
    back = await cluster.release("rollback", CATALOG)
    assert back.exit_code == 0, back


async def test_a_killed_task_loses_no_acknowledged_write_and_is_replaced(
    cluster: RunningCluster, load: SteadyLoad
) -> None:
    killed = next(iter((await cluster.tasks(PROGRESS)).values()))
    async with load.running():
        await cluster.signal(killed, "KILL")
        await cluster.ended(killed.id)
        await cluster.until_steady(PROGRESS, TASKS)
        failed = len(load.failures)
        await load.more_requests(10 * load.plan.devices)
    lost = await load.lost_writes()
    # What was under way there failed, and nothing more than that.
    sys.stdout.write(f"\n{failed} of {load.requests} requests failed by a kill; {len(lost)} lost\n")
    assert lost == []
    assert len(load.failures) == failed
    assert {failure.service for failure in load.failures} <= {PROGRESS}
    assert killed.id not in await cluster.tasks(PROGRESS)


class SlowWrite:
    """A write of progress whose body comes in two parts."""

    def __init__(self, cluster: RunningCluster, number: int) -> None:
        parts = urlsplit(cluster.bases[PROGRESS])
        assert parts.hostname is not None
        self._address = parts.hostname, parts.port or 80
        self._body = json.dumps(
            {
                "occurredAt": "2026-02-01T09:00:00Z",
                "deviceId": f"slow-{number}",
                "items": {"intro": {"completed": True}},
            }
        ).encode()
        self._head = (
            f"PUT /progress/me/slow-{time.monotonic_ns()}-{number} HTTP/1.1\r\n"
            f"Host: {parts.netloc}\r\nAuthorization: Bearer {cluster.tokens['learner-a']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self._body)}\r\n\r\n"
        ).encode()
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def begin(self) -> None:
        """Send the first half."""
        self._link = await asyncio.open_connection(*self._address)
        self._link[1].write(self._head + self._body[: len(self._body) // 2])
        await self._link[1].drain()

    async def end(self) -> int:
        """Send the rest; the status of the answer."""
        assert self._link is not None
        reader, writer = self._link
        writer.write(self._body[len(self._body) // 2 :])
        async with asyncio.timeout(30):
            line = await reader.readline()
        return int(line.split()[1])

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link[1].close()


async def _until_draining(task: Task) -> None:
    """Wait until the task says that it is on its way out, or takes no new connection any more."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"http://{task.address}:8080/readyz") as answer:
                    if answer.status == 503:
                        return
            except aiohttp.ClientError:
                return
