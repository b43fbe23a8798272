"""What goes through the gateway unchanged: paths, headers, bodies, statuses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from tests.integration.gateway.conftest import Bench


async def _echo(request: web.BaseRequest) -> web.Response:
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
    "target",
    [
        "/things",
        "/things?limit=1&limit=2&&=&q=a%20b+c",
        "/things/a%2Fb",
        "/things/..",
        "/things/%2e%2e",
        "/things/%00",
        "/things/%zz",
        "/things/a;b=c,d:e@f",
        "/things/a\\b",
        '/things/"<>{}|^`',
        "/things/x?next=/../../etc&u=http://elsewhere",
    ],
)
async def test_the_target_reaches_the_service_byte_by_byte(bench: Bench, target: str) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    request = f"GET {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode()
    head, _, body = (await gateway.raw(request)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["target"] == target


async def test_raw_bytes_outside_ascii_are_no_http_target(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    answer = await gateway.raw("GET /things/ü HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 400 ")


async def test_an_absolute_target_is_routed_by_its_path(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    answer = await gateway.raw(
        b"GET http://here/things/a/../b HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 404 ")
    answer = await gateway.raw(
        b"GET http://here/things/a?x=1 HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
    )
    assert b'"target": "/things/a?x=1"' in answer


@pytest.mark.parametrize(
    "target",
    ["/", "//things", "/things/", "/things/a/b", "/things/../things", "/other", "/%74hings", "*"],
)
async def test_a_path_of_no_contract_is_404(bench: Bench, target: str) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    method = "OPTIONS" if target == "*" else "GET"
    answer = await gateway.raw(
        f"{method} {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "route_not_found"


async def test_headers_pass_but_those_of_the_connection(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    answer = await gateway.raw(
        b"GET /things HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer t\r\n"
        b"X-Twice: 1\r\nx-twice: 2\r\nX-Amzn-Trace-Id: Root=1-2-3\r\n"
        b"Connection: close, X-Mine\r\nX-Mine: gone\r\nTE: trailers\r\nKeep-Alive: 5\r\n"
        b"Proxy-Authorization: p\r\n\r\n"
    )
    sent = json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]
    assert sent == [
        ["Host", "api.example"],
        ["Authorization", "Bearer t"],
        ["X-Twice", "1"],
        ["X-Twice", "2"],
        ["X-Amzn-Trace-Id", "Root=1-2-3"],
    ]


async def test_a_missing_trace_id_is_the_one_thing_added(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    answer = await gateway.raw(b"GET /things HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"] == [
        ["Host", "here"],
        ["X-Amzn-Trace-Id", "Root=1-65a0b1c2-abababababababababababab"],
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"])
async def test_every_method_is_the_services_business(
    bench: Bench, client: aiohttp.ClientSession, method: str
) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    async with client.request(method, gateway.url + "/things") as answer:
        assert (await answer.json())["method"] == method


async def test_an_answers_status_reason_and_headers_pass(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        headers = [
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Access-Control-Allow-Origin", "https://app.example"),
            ("Keep-Alive", "timeout=5"),
            ("Date", "Mon, 05 Jan 2026 09:00:00 GMT"),
            ("Server", "theirs"),
        ]
        return web.Response(status=418, reason="Short and stout", headers=CIMultiDict(headers))

    gateway = await bench.gateway(await bench.service(handler))
    async with client.get(gateway.url + "/things") as answer:
        assert (answer.status, answer.reason) == (418, "Short and stout")
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert answer.headers.getall("Server") == ["theirs"]
        assert answer.headers.getall("Date") == ["Mon, 05 Jan 2026 09:00:00 GMT"]
        assert "Keep-Alive" not in answer.headers


@pytest.mark.parametrize("status", [204, 304, 301])
async def test_answers_without_a_body_and_redirects_pass(
    bench: Bench, client: aiohttp.ClientSession, status: int
) -> None:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"Location": "/things/2", "ETag": '"v1"'})

    gateway = await bench.gateway(await bench.service(handler))
    async with client.get(gateway.url + "/things/1", allow_redirects=False) as answer:
        assert answer.status == status
        assert answer.headers["ETag"] == '"v1"'
        assert await answer.read() == b""


async def test_compressed_bodies_stay_compressed(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    packed = b"\x1f\x8bnot really, and nobody looks"

    async def handler(request: web.BaseRequest) -> web.Response:
        assert await request.read() == packed
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    gateway = await bench.gateway(await bench.service(handler))
    headers = {"Content-Encoding": "gzip"}
    async with client.put(gateway.url + "/things/1", data=packed, headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == packed


CONTENT = hashlib.sha256(b"seed").digest() * 100_000


async def _file(request: web.BaseRequest) -> web.StreamResponse:
    """A file that knows single ranges."""
    headers = {"Accept-Ranges": "bytes", "ETag": '"f"', "Content-Type": "video/mp4"}
    part, status = CONTENT, 200
    if request.headers.get("Range"):
        span = request.http_range
        part, status = CONTENT[span], 206
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{len(CONTENT)}"
    return web.Response(status=status, body=part, headers=headers)


async def test_ranges_pass(bench: Bench, client: aiohttp.ClientSession) -> None:
    gateway = await bench.gateway(await bench.service(_file))
    headers = {"Range": "bytes=1000-1999"}
    async with client.get(gateway.url + "/files/1", headers=headers) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENT)}"
        assert await answer.read() == CONTENT[1000:2000]


async def test_head_has_the_headers_of_get_and_keeps_the_connection(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    gateway = await bench.gateway(await bench.service(_file))
    for _ in range(2):
        async with client.head(gateway.url + "/files/1") as answer:
            assert answer.headers["Content-Length"] == str(len(CONTENT))
            assert answer.headers["ETag"] == '"f"'
            assert await answer.read() == b""
    async with client.get(gateway.url + "/files/1") as answer:
        assert await answer.read() == CONTENT


async def test_an_answer_streams(bench: Bench, client: aiohttp.ClientSession) -> None:
    read = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await read.wait()
        await response.write(b"second")
        return response

    gateway = await bench.gateway(await bench.service(handler))
    async with client.get(gateway.url + "/things") as answer:
        assert await answer.content.readany() == b"first"
        read.set()
        assert await answer.content.read() == b"second"


async def test_a_request_streams(bench: Bench, client: aiohttp.ClientSession) -> None:
    arrived = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.Response:
        first = await request.content.readany()
        arrived.set()
        return web.Response(body=first + await request.content.read())

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first "
        await arrived.wait()
        yield b"second"

    gateway = await bench.gateway(await bench.service(handler))
    async with client.post(gateway.url + "/things", data=chunks()) as answer:
        assert await answer.read() == b"first second"


async def test_a_declared_length_stays_declared(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    async with client.put(gateway.url + "/things/1", data=b"{}") as answer:
        sent = dict((await answer.json())["headers"])
    assert sent["Content-Length"] == "2"
    assert "Transfer-Encoding" not in sent


async def test_expect_100_continue_is_answered_before_the_body_is_sent(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    reader, writer = await asyncio.open_connection(*gateway.host_and_port)
    writer.write(
        b"PUT /things/1 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"body": "{}"' in answer
    writer.close()


async def test_bytes_that_are_not_utf8_are_refused_here(bench: Bench) -> None:
    gateway = await bench.gateway(await bench.service(_echo))
    answer = await gateway.raw(
        b"GET /things HTTP/1.1\r\nHost: here\r\nX-Odd: \xe9\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "malformed_request"' in answer
