"""The client of the loads: it keeps its connection, repeats nothing, and says what it did not get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.load.connection import Connection

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Takes requests without a body and does with each as it is told."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                await self._serve(head, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[Server]:
    made = Server(serve)
    listening = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield made


def answering(text: bytes) -> Serve:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(text)

    return serve


async def test_requests_of_one_connection() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: a\r\n\r\n{}"
    async with server(answering(text)) as found:
        link = Connection(found.url, patience_seconds=5)
        answers = [await link.ask("GET", f"/{number}") for number in range(3)]
        assert [(one.status, one.json) for one in answers] == [(200, {})] * 3
        assert answers[0].headers["x-request-ID"] == "a"
        assert (found.connections, link.opened) == (1, 1)
        assert [one.split(b" ")[1] for one in found.requests] == [b"/0", b"/1", b"/2"]
        link.close()


async def test_chunks() -> None:
    text = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n[1\r\n1\r\n]\r\n0\r\n\r\n"
    )
    async with server(answering(text)) as found:
        link = Connection(found.url, patience_seconds=5)
        assert (await link.ask("GET", "/")).json == [1]
        assert (await link.ask("GET", "/")).json == [1]
        assert link.opened == 1
        link.close()


async def test_another_connection_where_the_server_says_so() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with server(answering(text)) as found:
        link = Connection(found.url, patience_seconds=5)
        assert [(await link.ask("GET", "/")).status for _ in range(2)] == [200, 200]
        assert link.opened == 2


async def test_another_connection_where_the_server_has_closed_it_between_two_requests() -> None:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with server(serve) as found:
        link = Connection(found.url, patience_seconds=5)
        assert (await link.ask("GET", "/")).status == 200
        assert link._open is not None
        async with asyncio.timeout(5):
            while not link._open[0].at_eof():
                await asyncio.sleep(0)
        assert (await link.ask("GET", "/")).status == 200
        assert (link.opened, len(found.requests)) == (2, 2)
        link.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "IncompleteReadError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123", "IncompleteReadError"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without a length"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\n", "a chunk begins with"),
    ],
)
async def test_a_request_that_got_no_whole_answer_is_not_sent_again(
    text: bytes, reason: str
) -> None:
    """Also on a connection that was kept, where the usual clients do."""

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        if b"GET /first " in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(text)
        writer.close()

    async with server(serve) as found:
        link = Connection(found.url, patience_seconds=5)
        assert (await link.ask("GET", "/first")).status == 200
        answer = await link.ask("GET", "/second")
        assert answer.status == 0
        assert reason in answer.body.decode()
        assert len(found.requests) == 2
        assert (await link.ask("GET", "/first")).status == 200
        link.close()


async def test_nobody_there_and_nobody_who_answers() -> None:
    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    async with server(silent) as found:
        answer = await Connection(found.url, patience_seconds=0.05).ask("GET", "/")
        assert (answer.status, answer.body) == (0, b"TimeoutError()")
    refused = await Connection(found.url, patience_seconds=5).ask("GET", "/")
    assert refused.status == 0
    assert b"ConnectionRefusedError" in refused.body
