"""Centralised sampling over a real socket: from a daemon that works, dies, comes back, or lies."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from libs.config import Environment
from libs.service import common_parts, read_service_settings
from libs.tracing import CentralRules, SamplingRules, Tracer, create_tracer, keep_sampling_fresh
from libs.tracing.testing import InMemoryEmitter
from tests.integration.tracing.sampling_daemon import SamplingDaemon, rule

pytestmark = pytest.mark.timeout(120)

EPOCH = 1_800_000_000.0


class Process:
    """What a service has: a tracer, X-Ray's rules, and the task that keeps them fresh, one turn of
    which is taken whenever the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []
        self._idle = asyncio.Event()
        self._go = asyncio.Event()
        self.rules = CentralRules(
            service="course_catalog",
            random=random.Random(1),
            clock=lambda: EPOCH + self.seconds,
            monotonic=lambda: self.seconds,
        )
        self.tracer: Tracer = create_tracer(
            service="course_catalog",
            version="1",
            daemon_address=None,
            rules=SamplingRules(default_rate=0),
            monotonic=lambda: self.seconds,
            emitter=InMemoryEmitter(),
            central=self.rules,
        )

    @asynccontextmanager
    async def asking(self, address: str, *, answer_seconds: float = 30.0) -> AsyncIterator[None]:
        """Runs the task of a service; its first turn is over when this is entered."""
        task = asyncio.create_task(
            keep_sampling_fresh(
                self.rules,
                address,
                random=random.Random(2),
                clock=lambda: EPOCH + self.seconds,
                monotonic=lambda: self.seconds,
                sleep=self._sleep,
                answer_seconds=answer_seconds,
            )
        )
        try:
            await self._idle.wait()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def turn(self, later: float) -> float:
        """Lets that much time go by and the task do what is due; gives its next pause."""
        self.seconds += later
        self._idle.clear()
        self._go.set()
        await self._idle.wait()
        return self.pauses[-1]

    def requests(self, number: int, route: str = "/courses") -> int:
        """How many of so many requests are sampled."""
        sampled = 0
        for _ in range(number):
            with self.tracer.segment("x", attributes={"http.route": route}) as span:
                sampled += span.sampled
        return sampled

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._idle.set()
        await self._go.wait()
        self._go.clear()


async def test_rules_appear_change_and_go() -> None:
    everything = rule("Default", Priority=10_000)
    courses = rule("courses", Priority=1, URLPath="/Courses*", FixedRate=1)
    process = Process()
    assert process.requests(5) == 0
    async with SamplingDaemon(everything, courses) as daemon, process.asking(daemon.address):
        assert daemon.asked_for_rules == 2, "one a page"
        assert (process.requests(5), process.requests(5, "/progress")) == (5, 0)

        daemon.rules = [rule("Default", Priority=10_000, FixedRate=1), rule("courses", Priority=1)]
        daemon.modified = EPOCH + 1
        await process.turn(10)
        assert (process.requests(5), process.requests(5, "/progress")) == (
            0,
            0,
        ), "courses is for all"

        daemon.rules = [rule("Default", Priority=10_000, FixedRate=1)]
        await process.turn(289)
        assert process.requests(5) == 0, "five minutes are not over"
        await process.turn(15)
        assert (process.requests(5), process.requests(5, "/progress")) == (5, 5)
        assert daemon.complaints == []


async def test_quotas_are_honoured_and_counts_reported() -> None:
    process = Process()
    async with (
        SamplingDaemon(rule("Default", ReservoirSize=100)) as daemon,
        process.asking(daemon.address),
    ):
        assert process.requests(20) == 1, "borrowed"
        daemon.targets["Default"] = {
            "FixedRate": 0.0,
            "ReservoirQuota": 4,
            "ReservoirQuotaTTL": EPOCH + 40,
            "Interval": 10,
        }
        await process.turn(10)
        for _ in range(3):
            assert process.requests(20) == 4
            process.seconds += 1
        await process.turn(7)
        counts = [
            (report["RequestCount"], report["SampledCount"], report["BorrowCount"])
            for report in daemon.reports
        ]
        assert counts == [(20, 1, 1), (60, 12, 0)]
        assert [report["Timestamp"] for report in daemon.reports] == [EPOCH + 10, EPOCH + 20]
        assert len({report["ClientID"] for report in daemon.reports}) == 1
        process.seconds = 41
        assert process.requests(20) == 1, "the quota has ended, so one is borrowed again"
        assert daemon.complaints == []


async def test_a_daemon_dies_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "libs.tracing")
    process = Process()
    async with (
        SamplingDaemon(rule("Default", FixedRate=1)) as daemon,
        process.asking(daemon.address),
    ):
        assert process.requests(3) == 3
        await daemon.stop()
        pauses = [await process.turn(10) for _ in range(8)]
        assert max(pauses) <= 60
        assert process.requests(3) == 3, "its last rules go on"
        await process.turn(3_600)
        assert process.requests(3) == 0, "an hour later the configured ones are in force"
        await daemon.start()
        await process.turn(1)
        assert process.requests(3) == 3
        await process.turn(11)
        # All that was decided while it was away; what the configured rules decided is not X-Ray's.
        assert daemon.reports[-1]["RequestCount"] == 3
        assert sum(report["RequestCount"] for report in daemon.reports) == 9
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING", "INFO"]


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


RULES = json.dumps(
    {"SamplingRuleRecords": [{"SamplingRule": rule("Default", FixedRate=1)}]}
).encode()
HOSTILE: dict[str, bytes | None] = {
    "hangs up": b"",
    "is silent": None,
    "is no HTTP": b"\x00\xff" * 500 + b"\r\n\r\n",
    "speaks without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 64,
    "has a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 1_000_000,
    "stops half-way": b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + RULES[:50],
    "is out of order": response(RULES, status=b"500 Internal Server Error"),
    "may not": response(b'{"Message":"no"}', status=b"403 Forbidden"),
    "sends elsewhere": response(b"", b"Location: /elsewhere", status=b"307 Temporary Redirect"),
    "is empty": response(b""),
    "is no JSON": response(b"<html>"),
    "is nested": response(b"[" * 100_000),
    "is packed": response(zlib.compress(b" " * 50_000_000), b"Content-Encoding: deflate"),
    "is no object": response(b"[]"),
    "has no rules": response(b'{"SamplingRuleRecords":[]}'),
    "has a rate of NaN": response(RULES.replace(b'"FixedRate": 1', b'"FixedRate": NaN')),
    "has a rate of a million": response(RULES.replace(b'"FixedRate": 1', b'"FixedRate": 1e6')),
    "has pages without end": response(RULES[:-1] + b',"NextToken":"again"}'),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_whatever_a_daemon_answers_the_configured_rules_go_on(case: str) -> None:
    connections = 0
    answer = HOSTILE[case]

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"/elsewhere" not in head
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
                await writer.drain()
                if case != "has pages without end":
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(hostile, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    process = Process()
    seconds = 0.2 if answer is None else 30.0
    async with server, process.asking(address, answer_seconds=seconds):
        assert process.requests(5) == 0
        assert 0 < process.pauses[-1] <= 1, "it is asked again, later and later"
        assert 0 < await process.turn(1) <= 2
        assert process.requests(5) == 0
        assert connections >= 2 or case == "has pages without end"


def settings_of(address: str, **variables: str) -> dict[str, str]:
    return {
        "CATALOG_AUTH_ISSUER": "https://issuer.invalid/pool",
        "CATALOG_AUTH_JWKS_URL": "http://127.0.0.1:9/jwks.json",
        "CATALOG_AUTH_CLIENT_IDS": "client",
        "CATALOG_TRACING_DAEMON": address,
        "CATALOG_TRACING_RATE": "0",
        "AWS_REGION": "us-east-1",
        **variables,
    }


@pytest.mark.parametrize("central", [True, False])
async def test_a_service_asks_in_the_background_if_it_was_told_to(central: bool) -> None:
    """The parts of a service, on its real clock: only the first turn is waited for."""
    async with SamplingDaemon(rule("Default", FixedRate=1)) as daemon, AsyncExitStack() as stack:
        variables = settings_of(
            daemon.address, CATALOG_TRACING_CENTRAL_SAMPLING=str(central).lower()
        )
        parts = common_parts(
            read_service_settings(
                Environment("CATALOG_", variables), variables, service="course_catalog"
            )
        )
        app = web.Application()
        for lifespan in parts.background:
            await stack.enter_async_context(lifespan(app))

        def is_sampled() -> bool:
            with parts.tracer.segment("x", attributes={"http.route": "/courses"}) as span:
                return span.sampled

        tasks = {task.get_name() for task in asyncio.all_tasks()}
        assert ("central_sampling" in tasks) is central
        if central:
            async with asyncio.timeout(30):
                while not is_sampled():
                    await asyncio.sleep(0.01)
        else:
            assert not is_sampled()
        assert daemon.asked_for_rules == int(central)
    assert "central_sampling" not in {task.get_name() for task in asyncio.all_tasks()}
