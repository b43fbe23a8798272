"""Asks the same requests over and over on a few connections, and counts what comes back.

Owns the sending and the clock of the answers. It reads of an answer only its status and its length,
so that it needs a fraction of the time of whoever answers.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

_REFUSED = b"HTTP/1.1 503"
# A contestant that is silent for so long has gone.
SILENCE_SECONDS = 20.0


class UnexpectedAnswerError(Exception):
    """What was to be measured is not what was answered."""


@dataclass
class Served:
    """What came back, and when: `seconds` of each answer. `refused`: those among them that say that
    there was too much to do."""

    seconds: list[float] = field(default_factory=list)
    response_bytes: int = 0
    refused: int = 0


async def ask(
    port: int,
    requests: Sequence[bytes],
    *,
    status: int,
    connections: int,
    seconds: float,
    may_refuse: bool = False,
) -> Served:
    """Send one request after another on each connection until the time is over.

    All that were sent have been answered when this returns. `may_refuse`: a 503 is an answer as well,
    and counted. Raises UnexpectedAnswerError, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    served = Served()
    wanted = _status_line(status)
    cycle = itertools.cycle(requests)
    asking: list[_Connection] = []
    try:
        for _ in range(connections):
            _, protocol = await loop.create_connection(
                lambda: _Connection(cycle, wanted, served, may_refuse=may_refuse),
                "127.0.0.1",
                port,
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


async def offer(
    port: int,
    requests: Sequence[bytes],
    *,
    status: int,
    rate: float,
    connections: int,
    seconds: float,
    told: Callable[[float], None],
) -> int:
    """Send so many requests a second for a time, however long their answers take; gives how many.

    `told` hears of each answer the seconds since the request was due, so that what waits for others
    is late too. Raises UnexpectedAnswerError, and TimeoutError where nothing keeps up with the rate.
    """
    loop = asyncio.get_running_loop()
    offering = _Offering(itertools.cycle(requests), _status_line(status), told)
    try:
        for _ in range(connections):
            await loop.create_connection(offering.connection, "127.0.0.1", port)
        began, sent = time.perf_counter(), 0
        while sent < rate * seconds:
            due = began + sent / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
                continue
            offering.send(due)
            sent += 1
            offering.require_no_error()
            if offering.waiting > rate * SILENCE_SECONDS:
                raise TimeoutError(f"{rate:.0f} requests a second are more than can be answered")
        async with asyncio.timeout(SILENCE_SECONDS):
            while offering.is_busy:
                await asyncio.sleep(0.01)
                offering.require_no_error()
    finally:
        offering.close()
    return sent


async def fetch(port: int, request: bytes) -> bytes:
    """One answer whole, head and body."""
    kept: list[bytes] = []
    served = Served()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: _Connection(itertools.cycle([request]), b"HTTP/1.1 ", served, kept=kept),
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
        *,
        kept: list[bytes] | None = None,
        may_refuse: bool = False,
    ) -> None:
        self._requests = requests
        self._wanted = wanted
        self._served = served
        self._kept = kept
        self._may_refuse = may_refuse
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
        if self._may_refuse and answer.startswith(_REFUSED):
            self._served.refused += 1
        elif not answer.startswith(self._wanted):
            self._end(UnexpectedAnswerError(answer[:600].decode(errors="replace")))
            return
        self._served.seconds.append(now - self._began)
        self._served.response_bytes += len(answer)
        if self._kept is not None:
            self._kept.append(answer)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
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


class _Offering:
    """Requests that are due, and the connections that are free for them: the longest unused first, so
    that none is idle for so long that it is closed."""

    def __init__(
        self, requests: Iterator[bytes], wanted: bytes, told: Callable[[float], None]
    ) -> None:
        self._requests = requests
        self._wanted = wanted
        self._told = told
        self._connections: list[_OfferedConnection] = []
        self._free: deque[_OfferedConnection] = deque()
        self._waiting: deque[float] = deque()

    @property
    def waiting(self) -> int:
        """How many requests are due and not sent."""
        return len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is still to come."""
        return len(self._free) < len(self._connections)

    def connection(self) -> _OfferedConnection:
        made = _OfferedConnection(self, self._requests, self._wanted)
        self._connections.append(made)
        self._free.append(made)
        return made

    def send(self, due: float) -> None:
        if self._free:
            self._free.popleft().send(due)
        else:
            self._waiting.append(due)

    def answered(self, connection: _OfferedConnection, seconds: float) -> None:
        self._told(seconds)
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._free.append(connection)

    def require_no_error(self) -> None:
        for connection in self._connections:
            if connection.ended.done():
                connection.ended.result()

    def close(self) -> None:
        for connection in self._connections:
            connection.ended.cancel()
            connection.close()


class _OfferedConnection(_Connection):
    def __init__(self, offering: _Offering, requests: Iterator[bytes], wanted: bytes) -> None:
        super().__init__(requests, wanted, Served())
        self._offering = offering

    def send(self, due: float) -> None:
        self._send()
        self._began = due

    def _go_on(self, now: float) -> None:
        # A run of many minutes keeps no list of its own.
        self._served.seconds.clear()
        self._offering.answered(self, now - self._began)


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status}".encode()
