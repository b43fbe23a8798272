"""What the load balancer does with requests: passes them on as they are, once, and never to who left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections import Counter

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from deploy.local.embedded_aws._load_balancer._control import Listener, Target
from tests.integration.load_balancer.conftest import Balancing, Servers


async def echo(request: web.BaseRequest) -> web.Response:
    """Answers with what arrived."""
    return web.json_response(
        {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[name, value] for name, value in request.headers.items()],
            "body": (await request.read()).decode("latin-1"),
        }
    )


@pytest.mark.parametrize(
    "target", ["/", "/a%2Fb/../c?x=1&x=2&=&q=a%20b+c", "/%00/%zz", "//double", "/..%2e"]
)
async def test_the_target_arrives_byte_by_byte(
    balancing: Balancing, servers: Servers, target: str
) -> None:
    await balancing.to(await servers.http(echo))
    answer = await balancing.raw(
        f"GET {target} HTTP/1.1\r\nHost: here:1\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["target"] == target


async def test_headers_arrive_as_they_are_with_those_of_a_load_balancer(
    balancing: Balancing, servers: Servers
) -> None:
    await balancing.to(await servers.http(echo))
    answer = await balancing.raw(
        b'POST /x HTTP/1.1\r\nHost: here:1\r\nX-Twice: a\r\nx-twice: b\r\nIf-None-Match: "e"\r\n'
        b"X-Amzn-Trace-Id: Root=1-0-1;Sampled=1\r\nX-Forwarded-For: 10.0.0.1\r\n"
        b"Connection: close, X-Hop\r\nX-Hop: gone\r\nContent-Length: 3\r\n\r\nabc"
    )
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    headers = CIMultiDict(seen["headers"])
    assert headers.getall("X-Twice") == ["a", "b"]
    assert headers["If-None-Match"] == '"e"'
    assert headers["Host"] == "here:1"
    assert headers["X-Forwarded-For"] == "10.0.0.1, 127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Forwarded-Port"] == str(balancing.port)
    own, root, sampled = headers["X-Amzn-Trace-Id"].split(";")
    assert own.startswith("Self=1-")
    assert (root, sampled) == ("Root=1-0-1", "Sampled=1")
    assert "X-Hop" not in headers
    assert "User-Agent" not in headers
    assert seen["body"] == "abc"


async def test_answers_come_back_as_they_are(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    async def handler(_request: web.BaseRequest) -> web.Response:
        headers = CIMultiDict([("ETag", 'W/"1"'), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        return web.Response(status=412, reason="No, Thanks", body=b"\x1f\x8bxyz", headers=headers)

    await balancing.to(await servers.http(handler))
    async with client.get(f"{balancing.url}/x") as answer:
        assert (answer.status, answer.reason) == (412, "No, Thanks")
        assert answer.headers["ETag"] == 'W/"1"'
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert await answer.read() == b"\x1f\x8bxyz"
    async with client.head(f"{balancing.url}/x") as answer:
        assert answer.status == 412
        assert answer.headers["Content-Length"] == "5"
        assert await answer.read() == b""


async def test_ten_megabytes_go_both_ways(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    async def mirror(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    await balancing.to(await servers.http(mirror))
    sent = hashlib.shake_256(b"seed").digest(10 * 2**20)
    async with client.put(f"{balancing.url}/x", data=sent) as answer:
        assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(sent).digest()


async def test_without_a_target_it_is_503(
    balancing: Balancing, client: aiohttp.ClientSession
) -> None:
    await balancing.to()
    async with client.get(balancing.url) as answer:
        assert answer.status == 503
        assert answer.headers["Server"] == "awselb/2.0"


async def test_a_target_that_refuses_is_502_and_nobody_else_is_asked(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    await balancing.to(servers.nobody())
    async with client.get(balancing.url) as answer:
        assert answer.status == 502


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_target_that_breaks_off_is_502_and_asked_once(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession, method: str
) -> None:
    """Also on a connection that was used before, where clients like to try again."""
    requests: list[bytes] = []

    async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"content-length: 3" in head.lower() or b"chunked" in head.lower():
                await reader.read(64)
            requests.append(head)
            if number == 0:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()

    await balancing.to(await servers.raw(target))
    statuses = []
    for _ in range(2):
        body = None if method == "GET" else b"abc"
        async with client.request(method, balancing.url, data=body) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 502]
    assert len(requests) == 2


async def test_a_slow_target_is_504_after_the_idle_time_out(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    await balancing.to(await servers.raw(silent), idle_seconds=0.2)
    async with client.get(balancing.url) as answer:
        assert answer.status == 504


async def test_half_an_answer_is_never_a_whole_one(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()

    await balancing.to(await servers.raw(half))
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get(balancing.url) as answer:
            await answer.read()


async def test_what_is_not_http_and_what_can_not_be_passed_on_is_400(
    balancing: Balancing, servers: Servers
) -> None:
    await balancing.to(await servers.http(echo))
    for request in (
        b"nonsense\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nX: \xff\r\nConnection: close\r\n\r\n",
    ):
        assert b" 400 " in (await balancing.raw(request)).partition(b"\r\n")[0]


async def test_fifty_at_once_are_spread_evenly(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    seen: Counter[int] = Counter()

    async def numbered(number: int) -> Target:
        async def handler(_request: web.BaseRequest) -> web.Response:
            seen[number] += 1
            return web.Response(text=str(number))

        return await servers.http(handler)

    await balancing.to(*[await numbered(number) for number in range(3)])

    async def ask() -> int:
        async with client.get(balancing.url) as answer:
            return answer.status

    statuses = await asyncio.gather(*(ask() for _ in range(300)))
    assert set(statuses) == {200}
    assert max(seen.values()) - min(seen.values()) <= 30


async def test_a_target_that_left_finishes_what_it_has_and_gets_nothing_new(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    leaving_saw = 0

    async def slow(_request: web.BaseRequest) -> web.Response:
        nonlocal leaving_saw
        leaving_saw += 1
        arrived.set()
        await go_on.wait()
        return web.Response(text="old")

    async def fresh(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="new")

    old, new = await servers.http(slow), await servers.http(fresh)
    await balancing.to(old)
    async with asyncio.TaskGroup() as group:
        under_way = group.create_task(text_of(client, balancing.url))
        await arrived.wait()
        await balancing.to(new)
        assert {await text_of(client, balancing.url) for _ in range(20)} == {"new"}
        assert leaving_saw == 1
        go_on.set()
    assert under_way.result() == "old"


async def test_a_port_that_is_taken_is_told(balancing: Balancing, servers: Servers) -> None:
    taken = await servers.http(echo)
    refused = await balancing.plane.route(
        (Listener("web", "group", taken.address, taken.port, ()),)
    )
    assert "in use" in refused["web"].lower()


async def test_what_was_counted_is_told(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    async def failing(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=500)

    await balancing.to(await servers.http(failing))
    await text_of(client, balancing.url)
    await balancing.to(servers.nobody())
    await text_of(client, balancing.url)
    async with asyncio.timeout(20):
        while sum(one["web"].requests for one in balancing.counts) < 2:
            await asyncio.sleep(0.05)
    told = [one["web"] for one in balancing.counts]
    assert sum(one.target_errors for one in told) == 1
    assert sum(one.balancer_errors for one in told) == 1
    assert sum(one.connection_errors for one in told) == 1


async def test_it_is_started_again_where_it_dies(
    balancing: Balancing, servers: Servers, client: aiohttp.ClientSession
) -> None:
    await balancing.to(await servers.http(echo))
    assert balancing.plane.process_id is not None
    os.kill(balancing.plane.process_id, signal.SIGKILL)
    async with asyncio.timeout(30):
        while True:
            try:
                async with client.get(balancing.url) as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def text_of(client: aiohttp.ClientSession, url: str) -> str:
    async with client.get(url) as answer:
        return await answer.text()
