"""What the gateway says itself, and what it does when one side breaks off."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from deploy.local._gateway import Limits
from tests.integration.gateway.conftest import Bench, Running, leading_to, routes

SMALL = Limits(service_seconds=20, body_bytes=1000)
IMPATIENT = Limits(service_seconds=0.2)
NOWHERE = leading_to("http://127.0.0.1:9")


async def _ok(request: web.BaseRequest) -> web.Response:
    return web.Response(body=str(len(await request.read())).encode())


async def _problem(answer: aiohttp.ClientResponse) -> dict[str, object]:
    assert answer.content_type == "application/problem+json"
    document: dict[str, object] = json.loads(await answer.read())
    assert document["status"] == answer.status
    assert document["requestId"] == answer.headers["X-Request-Id"]
    return document


async def test_a_problem_says_everything_and_nothing_of_the_query(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    gateway = await bench.gateway(NOWHERE)
    headers = {"X-Request-Id": "mine-1"}
    async with client.get(gateway.url + "/other?secret=1", headers=headers) as answer:
        assert answer.headers["X-Amzn-Trace-Id"].startswith("Root=1-65a0b1c2-")
        assert await _problem(answer) == {
            "type": "https://lyceum.example/problems/route_not_found",
            "title": "Not Found",
            "status": 404,
            "detail": "No service's contract has this path",
            "instance": "/other",
            "code": "route_not_found",
            "requestId": "mine-1",
        }


async def test_a_path_of_every_service_is_asked_at_the_service(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    gateway = await bench.gateway_of({"one": routes(NOWHERE), "two": routes(NOWHERE)}, None)
    async with client.get(gateway.url + "/things") as answer:
        assert answer.status == 404
        assert "at its own address" in str((await _problem(answer))["detail"])


async def test_a_declared_length_over_the_limit_is_refused_unread(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    gateway = await bench.gateway(await bench.service(_ok), SMALL)
    async with client.put(gateway.url + "/things/1", data=b"x" * 1001) as answer:
        assert answer.status == 413
        assert (await _problem(answer))["code"] == "payload_too_large"
    async with client.put(gateway.url + "/things/1", data=b"x" * 1000) as answer:
        assert await answer.read() == b"1000"


async def test_no_100_continue_for_what_will_be_refused(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_ok), SMALL)
    answer = await gateway.raw(
        b"PUT /things/1 HTTP/1.1\r\nHost: here\r\nContent-Length: 1001\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_chunked_body_over_the_limit_is_refused_on_the_way(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    gateway = await bench.gateway(await bench.service(_ok), SMALL)
    async with client.put(gateway.url + "/things/1", data=chunks()) as answer:
        assert answer.status == 413
        assert (await _problem(answer))["code"] == "payload_too_large"


async def test_a_chunked_body_that_breaks_its_framing_is_the_clients_fault(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_ok))
    answer = await gateway.raw(
        b"PUT /things/1 HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\nzz\r\nbody\r\n"
    )
    assert b" 400 " in answer.splitlines()[0]


async def test_an_answer_over_the_limit_is_502(bench: Bench, client: aiohttp.ClientSession) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * 1001)

    gateway = await bench.gateway(await bench.service(handler), SMALL)
    async with client.get(gateway.url + "/things") as answer:
        assert answer.status == 502
        assert (await _problem(answer))["code"] == "answer_too_large"
    async with client.head(gateway.url + "/things") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "1001")


async def test_an_answer_that_outgrows_the_limit_is_cut_off(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(11):
            await response.write(b"x" * 100)
        return response

    gateway = await bench.gateway(await bench.service(handler), SMALL)
    with pytest.raises(aiohttp.ClientError):
        async with client.get(gateway.url + "/things") as answer:
            await answer.read()
    assert [access.completed for access in gateway.accesses] == [False]


async def test_nobody_listening_is_503_with_retry_after(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gateway = await bench.gateway(f"http://127.0.0.1:{unused.getsockname()[1]}")
        async with client.get(gateway.url + "/things") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await _problem(answer))["code"] == "service_unavailable"


async def test_a_hanging_service_is_504(bench: Bench, client: aiohttp.ClientSession) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    gateway = await bench.gateway(await bench.raw_service(handler), IMPATIENT)
    async with client.get(gateway.url + "/things") as answer:
        assert answer.status == 504
        assert (await _problem(answer))["code"] == "gateway_timeout"


async def test_a_service_that_reads_no_body_is_504(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.get_running_loop().create_future()

    limits = Limits(service_seconds=0.2, body_bytes=64 * 2**20)
    gateway = await bench.gateway(await bench.raw_service(handler), limits)
    async with client.put(gateway.url + "/things/1", data=bytes(32 * 2**20)) as answer:
        assert answer.status == 504


async def test_a_slow_client_does_not_use_up_the_services_time(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_ok), IMPATIENT)
    reader, writer = await asyncio.open_connection(*gateway.host_and_port)
    writer.write(b"PUT /things/1 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n")
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(2 * IMPATIENT.service_seconds, passed.set_result, None)
    await passed
    writer.write(b"ab")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0-server\r\n", b"HTTP/1.1 banana\r\n\r\n"],
)
async def test_a_service_that_breaks_off_or_speaks_nonsense_is_502(
    bench: Bench, client: aiohttp.ClientSession, said: bytes
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    gateway = await bench.gateway(await bench.raw_service(handler))
    async with client.post(gateway.url + "/things", data=b"x") as answer:
        assert answer.status == 502
        assert (await _problem(answer))["code"] == "bad_gateway"


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_an_answer_broken_off_midway_is_broken_off_for_the_client(
    bench: Bench, client: aiohttp.ClientSession, framing: bytes
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n"[:9])
        await writer.drain()

    gateway = await bench.gateway(await bench.raw_service(handler))
    async with client.get(gateway.url + "/things") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert [(access.status, access.completed) for access in gateway.accesses] == [(200, False)]


async def test_an_answer_that_stalls_midway_is_cut_off(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    gateway = await bench.gateway(await bench.raw_service(handler), IMPATIENT)
    async with client.get(gateway.url + "/things") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_client_that_leaves_takes_its_request_to_the_service_along(bench: Bench) -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        assert await reader.read() == b""
        left.set()

    gateway = await bench.gateway(await bench.raw_service(handler))
    _, writer = await asyncio.open_connection(*gateway.host_and_port)
    writer.write(b"GET /things HTTP/1.1\r\nHost: here\r\n\r\n")
    await arrived.wait()
    writer.transport.abort()
    async with asyncio.timeout(10):
        await left.wait()
    assert [access.status for access in gateway.accesses] == [499]


async def test_a_client_that_leaves_midway_stops_the_download(bench: Bench) -> None:
    left = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert await reader.read() == b""
        left.set()

    gateway = await bench.gateway(await bench.raw_service(handler))
    reader, writer = await asyncio.open_connection(*gateway.host_and_port)
    writer.write(b"GET /things HTTP/1.1\r\nHost: here\r\n\r\n")
    await reader.readuntil(b"hello")
    writer.transport.abort()
    async with asyncio.timeout(10):
        await left.wait()


async def test_a_service_that_comes_back_is_reached_again(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    answered = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await reader.readuntil(b"\r\n\r\n")
        answered += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")  # then it closes

    gateway: Running = await bench.gateway(await bench.raw_service(handler))
    for _ in range(5):
        async with client.get(gateway.url + "/things") as answer:
            assert await answer.read() == b"ok"
    assert answered == 5
