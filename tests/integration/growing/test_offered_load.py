"""Load that is offered at even intervals, over real sockets: its rate, its lateness, its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.bench.comparison.load import UnexpectedAnswerError, ask, offer

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def server(*, status: int = 200, pauses: float = 0.0) -> AsyncIterator[int]:
    """Answers each request; the first one only after a while. Gives its port."""
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answered += 1
                if answered == 1:
                    await asyncio.sleep(pauses)
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def test_so_many_a_second_are_sent_and_each_is_answered() -> None:
    seconds: list[float] = []
    async with server() as port:
        sent = await offer(
            port, [REQUEST], status=200, rate=400, connections=4, seconds=0.25, told=seconds.append
        )
    assert sent == 100
    assert len(seconds) == 100
    assert min(seconds) > 0


async def test_who_waits_for_another_is_late_too() -> None:
    seconds: list[float] = []
    async with server(pauses=0.2) as port:
        await offer(
            port, [REQUEST], status=200, rate=100, connections=1, seconds=0.1, told=seconds.append
        )
    # The ten were due within a tenth of a second, and none was answered within two tenths.
    assert len(seconds) == 10
    assert all(found > 0.1 for found in seconds)


async def test_another_answer_ends_it() -> None:
    async with server(status=500) as port:
        with pytest.raises(UnexpectedAnswerError, match="500"):
            await offer(port, [REQUEST], status=200, rate=10, connections=1, seconds=60, told=print)


async def test_a_refusal_is_counted_where_it_may_be() -> None:
    async with server(status=503) as port:
        served = await ask(
            port, [REQUEST], status=200, connections=2, seconds=0.02, may_refuse=True
        )
        assert served.refused == len(served.seconds) > 0
        with pytest.raises(UnexpectedAnswerError, match="503"):
            await ask(port, [REQUEST], status=200, connections=2, seconds=0.02)
