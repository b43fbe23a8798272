"""The consumer as its image runs it: a process on uvloop, on real queues of two emulators."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from libs.tracing.testing import UdpCollector
from tests.backends import Backend
from tests.integration.outline_events.way import (
    Way,
    consumer_process,
    eventually,
    start,
    way,
)
from tests.unit.progress_tracking.simulated_queue import course_row, event

pytestmark = pytest.mark.timeout(180)

TRACE_ID = "1-5759e988-bd862e3fe1be46a994272793"
TRACE = f"Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture(params=["ministack", "moto"])
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    """A way on each emulator, whose queue parks what was received three times."""
    backend: Backend = request.getfixturevalue(f"{request.param}_backend")
    async with way(backend, max_receive_count=3) as made:
        yield made


@pytest.fixture()
async def on_moto(moto_backend: Backend) -> AsyncIterator[Way]:
    """For what needs a door: the other emulator's guard lets nobody in by another port's name."""
    async with way(moto_backend, max_receive_count=3) as made:
        yield made


async def test_from_start_to_stop(on: Way) -> None:
    """Events in any order, other rows and poison; then the way out, its metrics and its traces."""
    async with UdpCollector() as daemon:
        variables = on.variables(PROGRESS_TRACING_DAEMON=daemon.address, PROGRESS_TRACING_RATE="1")
        async with consumer_process(variables) as consumer:
            await on.publish('{"secret": "what it holds"}')
            for version in (2, 1, 3, 3):
                await on.publish(event("tides", version, trace_header=TRACE))
            await on.publish(course_row("tides"))
            await on.publish(event("soil", 1))

            async def parked() -> bool:
                # Asked of the queue itself: SQS parks when somebody receives.
                return await on.waiting(on.parked_url) == 1

            await eventually(parked)
            assert await on.versions(["tides", "soil"]) == {"tides": 3, "soil": 1}
            assert await on.waiting(on.queue_url) == 0
            assert await consumer.stop() == 0
        segments = await daemon.wait_for(8)
    assert "what it holds" not in "".join(consumer.lines)
    events = consumer.events
    assert [one["event"] for one in events if one["event"] == "message_parked"] == [
        "message_parked"
    ]
    assert events[-1] | {"event": "stopped", "drained": True} == events[-1]
    figures: dict[str, float] = {}
    for one in events:
        if one["event"] == "metrics":
            for name in ("MessagesReceived", "MessagesFailed", "MessagesParked"):
                figures[name] = figures.get(name, 0) + one.get(name, 0)
    # Six messages once, and one as often as the queue allows.
    assert figures == {"MessagesReceived": 9, "MessagesFailed": 3, "MessagesParked": 1}
    assert any("QueueLag" in one for one in events if one["event"] == "metrics")
    own = [one for one in segments if one.get("annotations", {}).get("course") == "tides"]
    assert len(own) == 4
    assert {one["trace_id"] for one in own} == {TRACE_ID}
    assert all(child["name"] == "DynamoDB" for one in own for child in one.get("subsegments", []))


async def test_an_outage_of_the_table_longer_than_the_visibility_parks_nothing(
    on_moto: Way,
) -> None:
    """The queue would park at the fourth delivery; the outage lasts for four visibility time-outs."""
    on = on_moto
    async with door_to(on.backend) as door:
        variables = on.variables(
            AWS_ENDPOINT_URL_DYNAMODB=door.url, PROGRESS_BREAKER_OPEN_SECONDS="0.3"
        )
        await door.close()
        async with consumer_process(variables) as consumer:
            for number in range(15):
                await on.publish(event(f"course-{number}", 1))
            await asyncio.sleep(8)
            assert await on.versions(["course-0", "course-14"]) == {}
            assert await on.waiting(on.queue_url) == 15
            assert await on.waiting(on.parked_url) == 0
            await door.open()

            async def learnt() -> bool:
                return await on.waiting(on.queue_url) == 0

            await eventually(learnt)
            courses = [f"course-{number}" for number in range(15)]
            assert await on.versions(courses) == dict.fromkeys(courses, 1)
            assert await on.waiting(on.parked_url) == 0
            assert await consumer.stop() == 0
    received = [one.get("MessagesReceived", 0) for one in consumer.events]
    assert sum(received) == 15  # none of them twice


async def test_stopped_in_an_outage_it_gives_everything_back(on_moto: Way) -> None:
    on = on_moto
    async with door_to(on.backend) as door:
        await door.close()
        variables = on.variables(
            AWS_ENDPOINT_URL_DYNAMODB=door.url, PROGRESS_OUTLINE_VISIBILITY_SECONDS="3600"
        )
        async with consumer_process(variables) as consumer:
            await on.publish(event("tides", 1))

            async def tried() -> bool:
                return any('"learn_failed"' in line for line in consumer.lines)

            await eventually(tried)
            assert await consumer.stop() == 0
    answer = await on.sqs.receive_message(QueueUrl=on.queue_url, WaitTimeSeconds=2)
    assert len(answer["Messages"]) == 1  # an hour of visibility, and it is there at once


async def test_a_second_signal_ends_it_at_once(on: Way) -> None:
    variables = on.variables(PROGRESS_OUTLINE_WAIT_SECONDS="20", PROGRESS_DRAIN_SECONDS="60")
    async with consumer_process(variables) as consumer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        consumer.signal(signal.SIGTERM)

        async def draining() -> bool:
            return any('"draining"' in line for line in consumer.lines)

        await eventually(draining)
        assert await consumer.stop() == 0
        assert loop.time() - began < 15  # not the poll's 20 seconds
    assert consumer.events[-1]["drained"] is False


async def test_without_a_queue_it_does_not_start_and_says_all_that_is_wrong() -> None:
    process = await start(
        "services.progress_tracking.consumer",
        {
            "AWS_REGION": "eu-west-1",
            "PROGRESS_OUTLINE_CONCURRENCY": "0",
            "PROGRESS_OUTLINE_WAIT_SECONDS": "21",
        },
        stdin=False,
    )
    assert process.stdout is not None
    written = (await process.stdout.read()).decode()
    assert await process.wait() == 2
    for name in ("OUTLINE_QUEUE_URL", "OUTLINE_CONCURRENCY", "OUTLINE_WAIT_SECONDS"):
        assert f"PROGRESS_{name} " in written


class Door:
    """A port of our own that leads to an emulator, or refuses."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def door_to(backend: Backend) -> AsyncIterator[Door]:
    parts = urlsplit(backend.endpoint_url)
    assert parts.hostname is not None
    assert parts.port is not None
    door = Door(parts.hostname, parts.port)
    await door.open()
    try:
        yield door
    finally:
        await door.close()
