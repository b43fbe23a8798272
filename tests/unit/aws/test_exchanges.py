"""An exchange of ours ends as a request of aiohttp's session does, whatever the server says.

Signing, reading and whole clients over it: test_direct_transport.py, test_transport_conformance.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from libs.aws._exchange import Exchanges
from tests.unit.aws.capturing_server import capturing_server
from tests.unit.aws.fault_server import FaultServer, answer, fault_server, hang

BODY = b'{"TableName": "courses"}'
HEADERS = {
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
    "Content-Length": str(len(BODY)),
    "Accept-Encoding": "identity",
}
OK = b"HTTP/1.1 200 OK\r\n"
Outcome = tuple[object, ...]


@asynccontextmanager
async def connected(
    *, sock_read: float | None = 10, limit: int = 100
) -> AsyncIterator[tuple[aiohttp.ClientSession, Exchanges]]:
    timeout = aiohttp.ClientTimeout(sock_connect=10, sock_read=sock_read)
    connector = aiohttp.TCPConnector(limit=limit)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        skip_auto_headers={"Content-Type", "User-Agent"},
    ) as session:
        yield session, Exchanges(connector, timeout)


async def outcome(call: Callable[[], Awaitable[Outcome]]) -> Outcome:
    try:
        return await call()
    except aiohttp.ClientError as error:
        return type(error), str(error)


async def as_session(session: aiohttp.ClientSession, url: URL) -> Outcome:
    async with session.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as response:
        return response.status, response.raw_headers, await response.read()


async def as_exchange(exchanges: Exchanges, url: URL) -> Outcome:
    return await exchanges.post(url, HEADERS, BODY)


@pytest.mark.parametrize(
    ("raw", "is_cut"),
    [
        (OK + b"x-amzn-RequestId: R\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"Content-Length: 0\r\n\r\n", False),
        (OK + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000, False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", False),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", False),
        (OK + b"x: \xc3\xa9\xff\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.0 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"\r\nuntil the end", True),
        (OK + b"Content-Length: 20\r\n\r\ncut short", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\ncut short", True),
        (OK + b"Content-Le", True),
        (b"", True),
        (b"this is no HTTP\r\n\r\n", True),
        (OK + b"Content-Length: x\r\n\r\n{}", True),
    ],
)
async def test_any_answer_comes_to_what_a_session_makes_of_it(raw: bytes, is_cut: bool) -> None:
    async with capturing_server() as server, connected() as (session, exchanges):
        server.answer, server.is_cut = raw, is_cut
        url = URL(f"{server.url}/a%41?b=c", encoded=True)
        theirs = await outcome(lambda: as_session(session, url))
        ours = await outcome(lambda: as_exchange(exchanges, url))
        assert ours == theirs
        # The same bytes, in the same order.
        assert server.requests[0] == server.requests[1]


async def test_where_nobody_listens_both_say_so() -> None:
    async with capturing_server() as server:
        url = URL(server.url)
    async with connected() as (session, exchanges):
        theirs = await outcome(lambda: as_session(session, url))
        assert await outcome(lambda: as_exchange(exchanges, url)) == theirs
    assert theirs[0] is aiohttp.ClientConnectorError


async def test_connections_are_used_again(aws: FaultServer) -> None:
    async with connected() as (_, exchanges):
        for _ in range(3):
            await exchanges.post(URL(aws.url), HEADERS, BODY)
        assert len(aws.connections) == 1
        await asyncio.gather(*(exchanges.post(URL(aws.url), HEADERS, BODY) for _ in range(3)))
    assert len(aws.connections) == 3
    assert [request.body for request in aws.requests] == [BODY] * 6


async def test_a_connection_whose_answer_is_not_awaited_is_not_used_again(aws: FaultServer) -> None:
    aws.then(hang)
    async with connected(limit=1) as (_, exchanges):
        call = asyncio.ensure_future(exchanges.post(URL(aws.url), HEADERS, BODY))
        await aws.hanging.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # With one connection at most: what was cancelled has given its own back.
        assert (await exchanges.post(URL(aws.url), HEADERS, BODY))[0] == 200
    assert len(aws.connections) == 2


async def stalls(server: FaultServer, request: web.Request) -> web.StreamResponse:
    """Send half an answer, then nothing."""
    response = web.StreamResponse()
    response.content_length = 1_000
    await response.prepare(request)
    await response.write(b"half")
    await server.hang()
    return response


@pytest.mark.parametrize("behaviour", [hang, stalls])
async def test_silence_before_and_within_an_answer_is_a_time_out(
    aws: FaultServer, behaviour: Callable[[FaultServer, web.Request], Awaitable[web.StreamResponse]]
) -> None:
    aws.then(behaviour, behaviour)
    async with connected(sock_read=0.05) as (session, exchanges):
        theirs = await outcome(lambda: as_session(session, URL(aws.url)))
        assert await outcome(lambda: as_exchange(exchanges, URL(aws.url))) == theirs
    assert theirs[0] is aiohttp.SocketTimeoutError


async def test_an_answer_that_keeps_coming_is_not_silence() -> None:
    async def slowly(server: FaultServer, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 8
        await response.prepare(request)
        for _ in range(8):
            await asyncio.sleep(0.1)
            await response.write(b"x")
        return response

    async with fault_server() as server, connected(sock_read=0.4) as (_, exchanges):
        server.then(slowly)
        _, _, body = await exchanges.post(URL(server.url), HEADERS, BODY)
    assert body == b"x" * 8


async def test_a_line_end_in_a_header_is_refused(aws: FaultServer) -> None:
    async with connected(limit=1) as (_, exchanges):
        with pytest.raises(ValueError, match="control character"):
            await exchanges.post(URL(aws.url), {"x": "1\r\ny: 2"}, BODY)
        aws.then(answer({}))
        await exchanges.post(URL(aws.url), HEADERS, BODY)
    assert len(aws.requests) == 1


async def test_without_a_time_out_an_answer_may_take_its_time(aws: FaultServer) -> None:
    async with connected(sock_read=None) as (_, exchanges):
        status, _, body = await exchanges.post(URL(aws.url), HEADERS, BODY)
    assert (status, body) == (200, b"{}")
