"""A TCP proxy on 127.0.0.1 in front of one server, whose behaviour is switched while it runs.

Owns the faults of a dependency: what a client meets at the socket when the server behind is gone,
silent, slow, broken or overloaded. It reads HTTP/1.1 just enough to tell requests apart (bodies by
Content-Length; no `Expect`). It knows no service of the project.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum

from deploy.local._faults._dialects import Dialect, Request
from deploy.local._ports import port_of, reserve

# More than any service sends: a client that never stops must not fill the memory.
_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 16 * 1024 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """What the proxy does with a request; the names are those of docs/resilience.md."""

    NONE = "none"
    """Passes the request on and the answer back."""
    REFUSE = "refusing connections"
    """Nobody listens: new connections are refused, those that are open are reset at once."""
    HANG = "hanging"
    """Takes connections and requests and never answers, those under way included."""
    RESET = "resetting in the middle of an answer"
    """Passes the request on, gives half of the answer's body, then resets the connection."""
    ERROR = "answering 500"
    """Answers as the service does that has an internal error; the request is not passed on."""
    THROTTLE = "throttling"
    """Answers as the service does that is asked too much; the request is not passed on."""
    SLOW = "answering after 10 s"
    """Passes the request on at once and gives the answer `slow_seconds` later."""
    BLACK_HOLE = "not answering to SYN"
    """New connections get no answer at all; those that are open are as in HANG."""


class _BrokenError(Exception):
    """This connection is over: the client went, or the fault was switched under it."""


class FaultProxy:
    """The proxy; `running` opens and closes it.

    Its port is taken from the start to the end, also while nobody listens on it. `requests` counts
    by the fault that each met, `connections` what was ever accepted.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        slow_seconds: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int | None = None,
    ) -> None:
        """`now` is the clock of the service behind: AWS refuses signatures far from its own. `port` is
        one of 127.0.0.1 that somebody has reserved for it; without one it takes a free one."""
        self.connections = 0
        self.requests: Counter[Fault] = Counter()
        self.slow_seconds = slow_seconds
        self._dialect = dialect
        self._now = now
        self._reserved = reserve() if port is None else _bound(port)
        self._target: tuple[str, int] | None = None
        self._fault = Fault.NONE
        self._server: asyncio.Server | None = None
        self._full: list[socket.socket] = []
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._switched = asyncio.Event()

    @property
    def port(self) -> int:
        """The port of 127.0.0.1, known before it serves."""
        return port_of(self._reserved)

    @property
    def url(self) -> str:
        """Where clients are to go, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def fault(self) -> Fault:
        """What it does now."""
        return self._fault

    @property
    def open_connections(self) -> int:
        """Connections of clients that are open now."""
        return len(self._serving)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultProxy]:
        """Serve until the block ends; every connection is closed then, and the port given back."""
        await self._listen()
        try:
            yield self
        finally:
            await self._close_listener()
            await self.drop_connections()
            self._reserved.close()

    def lead_to(self, host: str, port: int) -> None:
        """Where requests are passed on to, from the next connection on."""
        self._target = (host, port)

    async def switch(self, fault: Fault) -> None:
        """Behave as `fault` from now on, on the open connections too.

        What is held back at that moment (a request that hangs, an answer that is delayed) is never
        answered: its connection is reset.
        """
        before, self._fault = self._fault, fault
        held, self._switched = self._switched, asyncio.Event()
        held.set()
        if before in (Fault.REFUSE, Fault.BLACK_HOLE) or fault in (Fault.REFUSE, Fault.BLACK_HOLE):
            await self._close_listener()
            if fault is Fault.BLACK_HOLE:
                await self._fill_queue()
            elif fault is not Fault.REFUSE:
                await self._listen()
        if fault is Fault.REFUSE:
            await self.drop_connections()

    async def drop_connections(self) -> None:
        """Reset every open connection, as a server does that is killed; return when all are gone."""
        serving = dict(self._serving)
        for writer in serving.values():
            _reset(writer)
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, sock=_bound(self.port), limit=_MAX_HEAD_BYTES, backlog=512
        )

    async def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        for sock in self._full:
            sock.close()
        self._full.clear()

    async def _fill_queue(self) -> None:
        """A listener whose queue is full: Linux drops what SYN comes then (listen(2), tcp(7))."""
        listener = _bound(self.port)
        self._full.append(listener)
        listener.listen(0)
        # With a backlog of 0 one connection is still queued.
        queued = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._full.append(queued)
        queued.setblocking(False)
        await asyncio.get_running_loop().sock_connect(queued, ("127.0.0.1", self.port))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._serving[task] = writer
        try:
            await self._serve(reader, writer)
        except (_BrokenError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            _reset(writer)
        finally:
            writer.close()
            del self._serving[task]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while not reader.at_eof():
                request = await _read_request(reader)
                if request is None:
                    return
                fault, switched = self._fault, self._switched
                self.requests[fault] += 1
                if fault in (Fault.HANG, Fault.BLACK_HOLE):
                    await _hold(reader, switched, None)
                elif fault in (Fault.ERROR, Fault.THROTTLE):
                    made = (
                        self._dialect.error() if fault is Fault.ERROR else self._dialect.throttle()
                    )
                    writer.write(made)
                elif (refusal := self._dialect.refusal_of_date(request, self._now())) is not None:
                    writer.write(refusal)
                else:
                    if upstream is None:
                        assert self._target is not None
                        upstream = await asyncio.open_connection(
                            *self._target, limit=_MAX_HEAD_BYTES
                        )
                    head, body = await _forward(request, *upstream)
                    if fault is Fault.SLOW:
                        await _hold(reader, switched, self.slow_seconds)
                    await self._give(fault, head, body, reader, writer)
                await writer.drain()
        finally:
            if upstream is not None:
                upstream[1].close()

    async def _give(
        self,
        fault: Fault,
        head: bytes,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        # The fault may have been switched while the request was behind.
        if self._fault in (Fault.HANG, Fault.BLACK_HOLE):
            await _hold(reader, self._switched, None)
        if Fault.RESET in (fault, self._fault):
            writer.write(head + body[: len(body) // 2])
            await writer.drain()
            raise _BrokenError
        writer.write(head + body)


async def _hold(
    reader: asyncio.StreamReader, switched: asyncio.Event, seconds: float | None
) -> None:
    """Wait that long, or for ever; _BrokenError when the fault is switched or the client goes."""
    switching = asyncio.create_task(switched.wait())
    going = asyncio.create_task(reader.read(1))
    try:
        over, _ = await asyncio.wait(
            {switching, going}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in (switching, going):
            task.cancel()
        await asyncio.gather(switching, going, return_exceptions=True)
    if over:
        raise _BrokenError


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    request = Request(head)
    request.body = await reader.readexactly(_length(request.header("content-length")))
    return request


async def _forward(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[bytes, bytes]:
    """The whole answer of the server behind: its head and its body, as they came."""
    writer.write(request.head + request.body)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    answer = Request(head)
    status = int(head.split(b" ", 2)[1])
    if request.method == "HEAD" or status in (204, 304):
        return head, b""
    if answer.header("transfer-encoding") == "chunked":
        return head, await _chunks(reader)
    return head, await reader.readexactly(_length(answer.header("content-length")))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) <= _MAX_BODY_BYTES:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body
    raise _BrokenError


def _length(value: str | None) -> int:
    length = int(value or 0)
    if not 0 <= length <= _MAX_BODY_BYTES:
        raise _BrokenError
    return length


def _bound(port: int) -> socket.socket:
    """A socket on a port that `reserve` holds: both set SO_REUSEADDR, and the other never listens."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST and not with FIN, as a killed machine's kernel does (socket(7), SO_LINGER)."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
