"""The proxy that the fault tests stand on: what a client meets at its socket, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local._faults import DynamoDBDialect, Fault, FaultProxy, S3Dialect, WebDialect

BODY = b"0123456789" * 10
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
# Far above what a request on loopback takes: what is still silent then is held.
SILENCE_SECONDS = 0.3


class Behind:
    """The server behind: notes every request."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.read())
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if request.path == "/nothing":
            return web.Response(status=204)
        response = web.StreamResponse()
        if request.path == "/chunked":
            response.enable_chunked_encoding()
        else:
            response.content_length = len(BODY)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(BODY[:30])
            await response.write(BODY[30:])
        return response


@pytest.fixture()
def behind() -> Behind:
    return Behind()


@pytest.fixture()
async def proxy(behind: Behind) -> AsyncIterator[FaultProxy]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", behind.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        made = FaultProxy(DynamoDBDialect(), slow_seconds=0.2, now=lambda: NOW)
        assert server.port is not None
        made.lead_to("127.0.0.1", server.port)
        async with made.running():
            yield made
        assert made.open_connections == 0
        if behind.gate is not None:
            behind.gate.set()


@pytest.fixture()
async def client(proxy: FaultProxy) -> AsyncIterator[aiohttp.ClientSession]:
    """Keeps one connection, so that a switch meets one that is open; never repeats a request."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(
        proxy.url, connector=connector, middlewares=(), timeout=aiohttp.ClientTimeout(total=10)
    ) as session:
        yield session


async def post(client: aiohttp.ClientSession, path: str = "/") -> tuple[int, bytes]:
    # POST: aiohttp repeats an idempotent request once on a kept connection that was reset.
    async with client.post(path, data=b"asked") as response:
        return response.status, await response.read()


@pytest.mark.parametrize("path", ["/", "/chunked"])
async def test_it_passes_requests_and_answers_on_unchanged(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind, path: str
) -> None:
    for _ in range(3):
        assert await post(client, path) == (200, BODY)
    assert behind.asked == [b"asked"] * 3
    assert (proxy.connections, proxy.requests) == (1, {Fault.NONE: 3})
    async with client.head("/") as response:
        assert response.content_length == len(BODY)
    assert await post(client, "/nothing") == (204, b"")
    assert proxy.connections == 1


async def test_refusing_resets_what_is_open_and_lets_nobody_in_until_it_is_over(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    await post(client)
    await proxy.switch(Fault.REFUSE)
    assert proxy.open_connections == 0
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.switch(Fault.NONE)
    assert await post(client) == (200, BODY)
    assert len(behind.asked) == 2


async def test_a_request_under_way_is_reset_when_connections_are_refused(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    behind.gate = asyncio.Event()
    asking = asyncio.create_task(post(client))
    await behind.reached.wait()
    await proxy.switch(Fault.REFUSE)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await asking


async def test_hanging_takes_the_request_and_never_answers_it(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    await post(client)
    await proxy.switch(Fault.HANG)
    asking = asyncio.create_task(post(client))
    done, _ = await asyncio.wait({asking}, timeout=SILENCE_SECONDS)
    assert not done
    assert proxy.requests[Fault.HANG] == 1
    assert len(behind.asked) == 1
    await proxy.switch(Fault.NONE)
    # It was held when the fault went: it is lost, and the next one is served.
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await asking
    assert await post(client) == (200, BODY)


async def test_hanging_holds_the_answer_of_a_request_that_was_under_way(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    behind.gate = asyncio.Event()
    asking = asyncio.create_task(post(client))
    await behind.reached.wait()
    await proxy.switch(Fault.HANG)
    behind.gate.set()
    done, _ = await asyncio.wait({asking}, timeout=SILENCE_SECONDS)
    assert not done
    asking.cancel()
    await asyncio.wait({asking})


async def test_a_held_connection_is_closed_when_its_client_goes(
    proxy: FaultProxy, client: aiohttp.ClientSession
) -> None:
    await proxy.switch(Fault.HANG)
    asking = asyncio.create_task(post(client))
    while not proxy.requests[Fault.HANG]:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    async with asyncio.timeout(10):
        while proxy.open_connections:
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/", "/chunked"])
async def test_resetting_gives_half_a_body_of_a_request_that_was_served(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind, path: str
) -> None:
    await post(client)
    await proxy.switch(Fault.RESET)
    async with client.post(path, data=b"asked") as response:
        assert response.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
            await response.read()
    assert len(behind.asked) == 2


async def test_errors_and_throttles_are_answered_in_the_service_s_words(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    await proxy.switch(Fault.ERROR)
    status, body = await post(client)
    assert (status, b"#InternalServerError" in body) == (500, True)
    await proxy.switch(Fault.THROTTLE)
    status, body = await post(client)
    assert (status, b"#ProvisionedThroughputExceededException" in body) == (400, True)
    await proxy.switch(Fault.NONE)
    assert await post(client) == (200, BODY)
    # All over one connection, which these answers leave open.
    assert (proxy.connections, len(behind.asked)) == (1, 1)


async def test_a_slow_answer_comes_whole_after_its_time(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    await proxy.switch(Fault.SLOW)
    began = time.monotonic()
    assert await post(client) == (200, BODY)
    assert time.monotonic() - began >= proxy.slow_seconds
    assert proxy.requests == {Fault.SLOW: 1}


async def test_a_slow_request_is_served_at_once_and_only_its_answer_waits(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    proxy.slow_seconds = 60
    await proxy.switch(Fault.SLOW)
    asking = asyncio.create_task(post(client))
    await behind.reached.wait()
    assert not asking.done()
    await proxy.switch(Fault.NONE)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await asking


async def test_a_black_hole_does_not_answer_to_new_connections_nor_to_open_ones(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    await post(client)
    await proxy.switch(Fault.BLACK_HOLE)
    opening = asyncio.create_task(asyncio.open_connection("127.0.0.1", proxy.port))
    asking = asyncio.create_task(post(client))
    done, _ = await asyncio.wait({opening, asking}, timeout=SILENCE_SECONDS)
    assert not done
    for task in (opening, asking):
        task.cancel()
    await asyncio.wait({opening, asking})
    await proxy.switch(Fault.NONE)
    assert await post(client) == (200, BODY)
    assert len(behind.asked) == 2


async def test_its_port_stays_its_own_while_nobody_listens(proxy: FaultProxy) -> None:
    await proxy.switch(Fault.REFUSE)
    with pytest.raises(OSError, match="in use"):
        # Without SO_REUSEADDR, as a process that was told any port would try it.
        await asyncio.start_server(lambda *_: None, "127.0.0.1", proxy.port, reuse_address=False)
    await proxy.switch(Fault.NONE)
    assert proxy.fault is Fault.NONE


@pytest.mark.parametrize("fault", list(Fault))
async def test_every_fault_can_follow_every_other_and_pass(
    proxy: FaultProxy, client: aiohttp.ClientSession, fault: Fault
) -> None:
    for before in Fault:
        await proxy.switch(before)
        await proxy.switch(fault)
        assert proxy.fault is fault
    await proxy.switch(Fault.NONE)
    assert await post(client) == (200, BODY)


async def asked_at(moment: datetime, client: aiohttp.ClientSession) -> tuple[int, bytes]:
    headers = {"X-Amz-Date": f"{moment:%Y%m%dT%H%M%SZ}"}
    async with client.post("/", headers=headers) as response:
        return response.status, await response.read()


async def test_signatures_of_another_hour_are_refused_as_aws_refuses_them(
    proxy: FaultProxy, client: aiohttp.ClientSession, behind: Behind
) -> None:
    assert (await asked_at(NOW + timedelta(minutes=5), client))[0] == 200
    status, body = await asked_at(NOW - timedelta(hours=1), client)
    assert (status, b"InvalidSignatureException" in body) == (400, True)
    assert b"Signature expired: 20260304T040607Z is now earlier than 20260304T050607Z" in body
    status, body = await asked_at(NOW + timedelta(hours=1), client)
    assert (status, b"Signature not yet current" in body) == (400, True)
    assert len(behind.asked) == 1


def test_each_service_has_its_own_words() -> None:
    s3, plain = S3Dialect(), WebDialect()
    assert b"<Code>InternalError</Code>" in s3.error()
    assert s3.throttle().startswith(b"HTTP/1.1 503 ")
    assert b"<Code>SlowDown</Code>" in s3.throttle()
    assert plain.error().startswith(b"HTTP/1.1 500 ")
    assert plain.throttle().startswith(b"HTTP/1.1 429 ")
