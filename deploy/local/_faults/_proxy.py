"""A TCP proxy on 127.0.0.1 in front of one server, whose behaviour is switched while it runs.

Owns the faults of a dependency: what a client meets at the socket when the server behind is gone,
silent, slow, broken or overloaded. It reads HTTP/1.1 just enough to tell requests apart (`_message`)
and passes bodies on in pieces, both ways at once. It knows no service of the project.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from deploy.local._faults._dialects import Dialect
from deploy.local._faults._message import (
    MAX_HEAD_BYTES,
    PIECE_BYTES,
    Body,
    BrokenError,
    Head,
    read_head,
)
from deploy.local._ports import port_of, reserve

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
    """Passes the request on, gives half of the answer's body, then resets the connection. Of an
    answer without a body it gives half of the head: a client must not take it for a whole one."""
    ERROR = "answering 500"
    """Answers as the service does that has an internal error; the request is not passed on."""
    THROTTLE = "throttling"
    """Answers as the service does that is asked too much; the request is not passed on."""
    SLOW = "answering after 10 s"
    """Passes the request on at once and gives the answer `slow_seconds` later."""
    BLACK_HOLE = "not answering to SYN"
    """New connections get no answer at all; those that are open are as in HANG."""


_SILENT = frozenset({Fault.HANG, Fault.BLACK_HOLE})


class _Reader(asyncio.StreamReader):
    """Of a client's connection; tells at once when the client goes, read or not."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD_BYTES)
        self.on_gone: Callable[[], object] = lambda: None

    def feed_eof(self) -> None:
        super().feed_eof()
        self.on_gone()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.on_gone()


@dataclass(eq=False)
class _Client:
    """A client's connection, and the task that serves it: to cancel it resets the connection."""

    reader: _Reader
    writer: asyncio.StreamWriter
    task: asyncio.Task[None]
    is_waiting: bool = False
    """A request of it is under way."""
    is_held: bool = False
    """A fault holds back what it waits for."""

    def goes(self) -> None:
        """It has closed its side: nobody takes what is under way for it."""
        if self.is_waiting:
            self.task.cancel()

    def could_not_send(self, sending: asyncio.Task[bool]) -> None:
        """Its body broke off, or is no HTTP: no answer is to be waited for."""
        if not sending.cancelled() and sending.exception() is not None:
            self.task.cancel()

    async def send(self, data: bytes) -> None:
        """Write, and wait until there is room for more."""
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class _Behind:
    """A connection to the server behind."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_spent: bool = False
    """No other request may go over it."""

    @property
    def is_open(self) -> bool:
        """Whether another request may, and the server has not closed it meanwhile."""
        is_closed = self.reader.exception() is not None or self.reader.at_eof()
        return not (self.is_spent or is_closed)

    async def send(self, data: bytes) -> None:
        """As `_Client.send`."""
        self.writer.write(data)
        await self.writer.drain()


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
        self._clients: set[_Client] = set()

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
        return len(self._clients)

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
        for client in self._clients:
            if client.is_held:
                client.task.cancel()
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
        clients = list(self._clients)
        for client in clients:
            _reset(client.writer)
            client.task.cancel()
        if clients:
            await asyncio.wait([client.task for client in clients])

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(), self._accept),
            sock=_bound(self.port),
            backlog=512,
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
        assert isinstance(reader, _Reader)
        self.connections += 1
        client = _Client(reader, writer, task)
        reader.on_gone = client.goes
        self._clients.add(client)
        try:
            await self._serve(client)
        except (
            BrokenError,
            OSError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
        ):
            _reset(writer)
        finally:
            writer.close()
            self._clients.discard(client)

    async def _serve(self, client: _Client) -> None:
        behind: _Behind | None = None
        try:
            while (request := await read_head(client.reader)) is not None:
                client.is_waiting = True
                body = Body.of_request(request, client.reader)
                # What is small is here before anything is decided, and goes on in one piece.
                is_small = body.known_length is not None and body.known_length <= PIECE_BYTES
                whole = b""
                if is_small and not request.waits_to_be_asked:
                    whole = await body.read_whole()
                fault = self._fault
                self.requests[fault] += 1
                if fault in _SILENT:
                    with _held(client):
                        await body.discard()
                        await _for_ever()
                if (made := self._made_answer(fault, request)) is not None:
                    if request.waits_to_be_asked:
                        # Whether the body comes all the same, nobody knows (RFC 9110, 10.1.1).
                        await client.send(_closing(made))
                        return
                    await body.discard()
                    await client.send(made)
                else:
                    behind = await self._connected(behind)
                    if not await self._pass_on(client, behind, request, whole, body, fault):
                        return
                client.is_waiting = False
        finally:
            if behind is not None:
                behind.writer.transport.abort()

    def _made_answer(self, fault: Fault, request: Head) -> bytes | None:
        """What is answered here; None where the request is to be passed on."""
        if fault is Fault.ERROR:
            return self._dialect.error()
        if fault is Fault.THROTTLE:
            return self._dialect.throttle()
        return self._dialect.refusal_of_date(request, self._now())

    async def _connected(self, behind: _Behind | None) -> _Behind:
        """A connection for one more request: the one that there is, where that can be."""
        if behind is not None:
            if behind.is_open:
                return behind
            behind.writer.transport.abort()
        assert self._target is not None
        return _Behind(*await asyncio.open_connection(*self._target, limit=MAX_HEAD_BYTES))

    async def _pass_on(
        self,
        client: _Client,
        behind: _Behind,
        request: Head,
        whole: bytes,
        body: Body,
        fault: Fault,
    ) -> bool:
        """One request and its answer; whether the client's connection goes on after it.

        `whole` is what was read of the body already, `body` is what is left of it.
        """
        await behind.send(request.raw + whole)
        sending = None
        if body.known_length != 0:
            sending = asyncio.create_task(self._send_body(client, behind, body))
            sending.add_done_callback(client.could_not_send)
        try:
            if fault is Fault.SLOW:
                with _held(client):
                    answer, was_asked = await _answer(client, behind)
                    await asyncio.sleep(self.slow_seconds)
            else:
                answer, was_asked = await _answer(client, behind)
            content = Body.of_answer(answer, request.method, behind.reader)
            await self._give(client, fault, answer, content)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        if sending is not None and (sending.cancelled() or not sending.result()):
            # Answered before all of it was sent, as a refusal is.
            behind.is_spent = True
            if request.waits_to_be_asked and not was_asked:
                return False
            await body.discard()
        behind.is_spent = behind.is_spent or answer.is_last
        return not (request.is_last or answer.is_last or content.ends_with_connection)

    async def _send_body(self, client: _Client, behind: _Behind, body: Body) -> bool:
        """Whether the server behind took all of it."""
        is_taken = True
        while piece := await body.read():
            await self._hang_where_told(client)
            if is_taken:
                try:
                    await behind.send(piece)
                except OSError:
                    # It answered and closed. The client reads that when it has sent everything.
                    is_taken = False
        return is_taken

    async def _give(self, client: _Client, fault: Fault, answer: Head, body: Body) -> None:
        """The answer, piece by piece; the fault may be switched in the middle of it."""
        await self._hang_where_told(client)
        if Fault.RESET in (fault, self._fault):
            await _give_half(client, answer, body)
            raise BrokenError
        head = answer.raw
        while piece := await body.read():
            await self._hang_where_told(client)
            if self._fault is Fault.RESET:
                raise BrokenError
            await client.send(head + piece)
            head = b""
        if head:
            await client.send(head)

    async def _hang_where_told(self, client: _Client) -> None:
        if self._fault in _SILENT:
            with _held(client):
                await _for_ever()


@contextmanager
def _held(client: _Client) -> Iterator[None]:
    """What the client waits for is held back: it is never given once the fault is switched."""
    client.is_held = True
    try:
        yield
    finally:
        client.is_held = False


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def _answer(client: _Client, behind: _Behind) -> tuple[Head, bool]:
    """The head of the answer, and whether the client was told before to send the body."""
    was_asked = False
    while (head := await read_head(behind.reader)) is not None:
        if head.status >= 200:
            return head, was_asked
        was_asked = was_asked or head.status == 100
        await client.send(head.raw)
    raise BrokenError


async def _give_half(client: _Client, answer: Head, body: Body) -> None:
    """Half of the answer's body; of one whose length is not known, half of its beginning."""
    length = body.known_length
    if length is None:
        begun = b""
        while len(begun) < PIECE_BYTES and (piece := await body.read()):
            begun += piece
        await client.send(answer.raw + begun[: len(begun) // 2])
    elif length == 0:
        await client.send(answer.raw[: len(answer.raw) // 2])
    else:
        await client.send(answer.raw)
        left = length // 2
        while left:
            piece = (await body.read())[:left]
            await client.send(piece)
            left -= len(piece)


def _closing(answer: bytes) -> bytes:
    """The same answer, which says that the connection ends with it."""
    return answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


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
