"""Asks the same requests over and over on a few connections, and counts what comes back.

Owns the sending and the clock of the answers. It reads of an answer only its status and its length,
so that it needs a fraction of the time of whoever answers.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

# A contestant that is silent for so long has gone.
SILENCE_SECONDS = 20.0


class UnexpectedAnswerError(Exception):
    """What was to be measured is not what was answered."""


@dataclass
class Served:
    """What came back, and when: `seconds` of each answer."""

    seconds: list[float] = field(default_factory=list)
    response_bytes: int = 0


async def ask(
    port: int,
    requests: Sequence[bytes],
    *,
    status: int,
    connections: int,
    seconds: float,
) -> Served:
    """Send one request after another on each connection until the time is over.

    All that were sent have been answered when this returns. Raises UnexpectedAnswerError, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    served = Served()
    wanted = f"HTTP/1.1 {status}".encode()
    cycle = itertools.cycle(requests)
    asking: list[_Connection] = []
    try:
        for _ in range(connections):
            _, protocol = await loop.create_connection(
                lambda: _Connection(cycle, wanted, served), "127.0.0.1", port
            )
            asking.append(protocol)
        until = time.perf_counter() + seconds
        for connection in asking:
            connection.begin(until)
        async with asyncio.timeout(seconds + SILENCE_SECONDS):
            await asyncio.gather(*(connection.ended for connection in asking))
    finally:
        for connection in asking:
            connection.close()
    return served


async def fetch(port: int, request: bytes) -> bytes:
    """One answer whole, head and body."""
    kept: list[bytes] = []
    served = Served()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: _Connection(itertools.cycle([request]), b"HTTP/1.1 ", served, kept),
        "127.0.0.1",
        port,
    )
    try:
        connection.begin(0.0)
        async with asyncio.timeout(SILENCE_SECONDS):
            await connection.ended
    finally:
        connection.close()
    return kept[0]


class _Connection(asyncio.Protocol):
    def __init__(
        self,
        requests: Iterator[bytes],
        wanted: bytes,
        served: Served,
        kept: list[bytes] | None = None,
    ) -> None:
        self._requests = requests
        self._wanted = wanted
        self._served = served
        self._kept = kept
        self._received = b""
        self._length = 0
        self._until = 0.0
        self._began = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass of it.
        self._transport = cast(asyncio.Transport, transport)

    def begin(self, until: float) -> None:
        self._until = until
        self._send()

    def close(self) -> None:
        self._transport.close()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._length:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._length = end + 4 + self._body_length(self._received[:end])
        if len(self._received) < self._length:
            return
        now = time.perf_counter()
        answer, self._received, self._length = self._received, b"", 0
        if not answer.startswith(self._wanted):
            self._end(UnexpectedAnswerError(answer[:600].decode(errors="replace")))
            return
        self._served.seconds.append(now - self._began)
        self._served.response_bytes += len(answer)
        if self._kept is not None:
            self._kept.append(answer)
        if now < self._until:
            self._send()
        else:
            self._end(None)

    @staticmethod
    def _body_length(head: bytes) -> int:
        _, found, length = head.lower().partition(b"\r\ncontent-length:")
        return int(length.split(b"\r\n", 1)[0]) if found else 0

    def connection_lost(self, error: Exception | None) -> None:
        self._end(UnexpectedAnswerError("the connection was closed without an answer"))

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
