"""Bodies through the proxy: in pieces, both ways at once, and what a fault or a leaving client ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from deploy.local._faults import Fault, FaultProxy, S3Dialect

# More than the proxy and the kernel hold back between them: whoever writes it waits for the reader.
LONG = 24 * 1024 * 1024
PIECE = bytes(64 * 1024)
SILENCE_SECONDS = 0.3

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Serve = Callable[[Reader, Writer], Awaitable[None]]


@asynccontextmanager
async def proxy_before(serve: Serve) -> AsyncIterator[FaultProxy]:
    """A proxy before a server that speaks for itself, byte for byte."""
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy = FaultProxy(S3Dialect(), slow_seconds=0.2)
    proxy.lead_to("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(60), proxy.running():
            yield proxy
        assert proxy.open_connections == 0
        # The proxy's end is the end of what it asked for.
        await asyncio.wait_for(asyncio.gather(*serving, return_exceptions=True), 10)
    finally:
        server.close()
        await server.wait_closed()


async def asked(proxy: FaultProxy, request: bytes) -> tuple[Reader, Writer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(request)
    return reader, writer


async def head_of(reader: Reader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def is_silent(reader: Reader) -> Awaitable[bool]:
    async def look() -> bool:
        reading = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({reading}, timeout=SILENCE_SECONDS)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return not done

    return look()


async def drained(reader: Reader) -> int:
    """Reads until the connection breaks off; how much came."""
    count = 0
    try:
        while piece := await reader.read(1 << 20):
            count += len(piece)
    except ConnectionResetError:
        return count
    raise AssertionError("it ended as if it were whole")


async def test_an_answer_comes_while_it_is_being_written() -> None:
    go_on = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/100\r\n"
            b"Content-Length: 10\r\n\r\n01234"
        )
        await go_on.wait()
        writer.write(b"56789")

    async with proxy_before(serve) as proxy:
        reader, writer = await asked(proxy, b"GET /v HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n")
        head = await head_of(reader)
        assert head.startswith(b"HTTP/1.1 206 ")
        assert b"Content-Range: bytes 0-9/100" in head
        assert await reader.readexactly(5) == b"01234"
        go_on.set()
        assert await reader.readexactly(5) == b"56789"
        writer.close()


async def test_a_body_is_sent_while_it_is_being_read() -> None:
    first = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        await reader.readexactly(len(PIECE))
        first.set()
        await reader.readexactly(LONG - len(PIECE))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with proxy_before(serve) as proxy:
        request = b"PUT /part HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LONG
        reader, writer = await asked(proxy, request + PIECE)
        await first.wait()
        for _ in range(LONG // len(PIECE) - 1):
            writer.write(PIECE)
            await writer.drain()
        assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_who_reads_slowly_slows_the_server_and_fills_no_memory() -> None:
    written = 0

    async def serve(reader: Reader, writer: Writer) -> None:
        nonlocal written
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * LONG))
        while True:
            writer.write(PIECE)
            await writer.drain()
            written += len(PIECE)

    async with proxy_before(serve) as proxy:
        reader, writer = await asked(proxy, b"GET /v HTTP/1.1\r\n\r\n")
        await head_of(reader)
        before = -1
        while before != written:  # until it waits for its reader
            before = written
            await asyncio.sleep(SILENCE_SECONDS)
        assert written < 8 * LONG
        writer.transport.abort()


async def test_a_chunked_body_and_its_trailers_go_through_both_ways() -> None:
    chunks = b"5;x=y\r\nabcde\r\n0\r\nDigest: none\r\n\r\n"

    async def serve(reader: Reader, writer: Writer) -> None:
        while True:
            await head_of(reader)
            assert await reader.readexactly(len(chunks)) == chunks
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

    async with proxy_before(serve) as proxy:
        request = b"POST /form HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        reader, writer = await asked(proxy, request)
        for again in (True, False):
            await head_of(reader)
            assert await reader.readexactly(len(chunks)) == chunks
            if again:
                writer.write(request)
        assert proxy.connections == 1
        writer.close()


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with proxy_before(serve) as proxy:
        reader, writer = await asked(proxy, b"GET / HTTP/1.1\r\n\r\n")
        await head_of(reader)
        assert await reader.read() == b"all of it"
        writer.close()


async def test_who_waits_to_be_told_to_go_on_is_told_by_the_server() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    request = b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    async with proxy_before(serve) as proxy:
        reader, writer = await asked(proxy, request)
        assert (await head_of(reader)).startswith(b"HTTP/1.1 100 ")
        writer.write(b"body")
        assert (await head_of(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()
        # Where the fault answers, nobody asks for the body, and the connection ends.
        await proxy.switch(Fault.ERROR)
        reader, writer = await asked(proxy, request)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"\r\nConnection: close\r\n" in answer
        writer.close()


async def test_a_refusal_comes_before_the_body_is_sent() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        while await reader.read(1 << 20):
            pass

    request = b"PUT /part HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LONG
    async with proxy_before(serve) as proxy:
        reader, writer = await asked(proxy, request)
        assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
        assert await reader.readexactly(2) == b"no"
        # What it sends all the same is taken, and the next request is another one.
        writer.write(bytes(LONG) + b"GET / HTTP/1.1\r\n\r\n")
        assert (await head_of(reader)).startswith(b"HTTP/1.1 403 ")
        assert proxy.connections == 1
        writer.close()


@pytest.mark.parametrize("sent", [0, len(PIECE)])
async def test_a_client_that_goes_ends_what_was_asked_for_it(sent: int) -> None:
    reached, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        await reader.readexactly(sent)
        reached.set()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        ended.set()

    length = 2 * sent
    async with proxy_before(serve) as proxy:
        request = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length
        _, writer = await asked(proxy, request + bytes(sent))
        await reached.wait()
        writer.close()
        await ended.wait()


async def test_a_connection_that_the_server_closed_meanwhile_is_made_anew() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with proxy_before(serve) as proxy:
        reader, writer = await asked(proxy, b"GET / HTTP/1.1\r\n\r\n")
        await head_of(reader)
        assert await is_silent(reader)  # by then the proxy has seen that the server went
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await head_of(reader)
        assert proxy.connections == 1
        writer.close()


async def endless(reader: Reader, writer: Writer) -> None:
    """A film of `LONG` bytes, as fast as it is taken."""
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG)
    for _ in range(LONG // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
    await reader.read()


async def test_a_film_that_runs_stops_when_its_store_hangs() -> None:
    async with proxy_before(endless) as proxy:
        reader, writer = await asked(proxy, b"GET /v HTTP/1.1\r\n\r\n")
        await head_of(reader)
        await proxy.switch(Fault.HANG)
        came = 0
        while not await is_silent(reader):
            came += 1 + len(await reader.read(1 << 20))
        assert came < LONG
        await proxy.switch(Fault.NONE)
        # It is not taken up again: whoever reads it asks for the rest.
        await drained(reader)
        writer.close()


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.REFUSE])
async def test_a_film_that_runs_is_broken_off(fault: Fault) -> None:
    async with proxy_before(endless) as proxy:
        reader, writer = await asked(proxy, b"GET /v HTTP/1.1\r\n\r\n")
        await head_of(reader)
        await proxy.switch(fault)
        assert await drained(reader) < LONG
        writer.close()


async def test_of_a_film_that_is_asked_for_half_comes() -> None:
    async with proxy_before(endless) as proxy:
        await proxy.switch(Fault.RESET)
        reader, writer = await asked(proxy, b"GET /v HTTP/1.1\r\n\r\n")
        await head_of(reader)
        # What the kernel still had to send is lost with the connection.
        assert await drained(reader) <= LONG // 2
        writer.close()


async def test_of_an_answer_without_a_body_half_of_the_head_comes() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with proxy_before(serve) as proxy:
        await proxy.switch(Fault.RESET)
        reader, writer = await asked(proxy, b"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert 0 < await drained(reader) < len(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


async def test_an_upload_that_runs_stops_when_its_store_hangs() -> None:
    taken, first_piece = 0, asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        nonlocal taken
        await head_of(reader)
        while piece := await reader.read(1 << 20):
            taken += len(piece)
            if taken >= len(PIECE):
                first_piece.set()

    async with proxy_before(serve) as proxy:
        request = b"PUT /part HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2 * len(PIECE))
        reader, writer = await asked(proxy, request + PIECE)
        await first_piece.wait()
        await proxy.switch(Fault.HANG)
        writer.write(PIECE)
        assert await is_silent(reader)
        assert taken == len(PIECE)
        await proxy.switch(Fault.NONE)
        await drained(reader)
        writer.close()


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.THROTTLE])
async def test_a_long_body_is_taken_before_it_is_refused(fault: Fault) -> None:
    async with proxy_before(endless) as proxy:
        await proxy.switch(fault)
        request = b"PUT /part HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LONG
        reader, writer = await asked(proxy, request + bytes(LONG))
        assert (await head_of(reader)).split()[1] in (b"500", b"503")
        assert proxy.open_connections == 1
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + bytes(200_000),
    ],
)
async def test_what_is_no_http_ends_its_connection_alone(request_: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with proxy_before(serve) as proxy:
        other, writer = await asked(proxy, b"")
        reader, refused = await asked(proxy, request_)
        assert await drained(reader) == 0
        assert await is_silent(other)
        refused.close()
        writer.close()
