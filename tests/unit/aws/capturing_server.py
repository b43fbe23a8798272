"""A server that keeps every request byte for byte and answers it with the bytes it is told to."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Captured:
    """One request as it stood on the wire."""

    head: bytes
    body: bytes

    def headers(self) -> dict[str, str]:
        """The headers, by their names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


class CapturingServer:
    """Answers every request with `answer`, the bytes of a whole HTTP answer; where it ends early
    (`is_cut`) the connection ends with it."""

    def __init__(self) -> None:
        self.requests: list[Captured] = []
        self.answer = b""
        self.is_cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Connection(asyncio.Protocol):
    def __init__(self, server: CapturingServer) -> None:
        self._server = server
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or length is None or len(rest) < int(length[1]):
            return
        # Nobody sends the next request before this one's answer.
        self._received = b""
        self._server.requests.append(Captured(head, rest))
        self._transport.write(self._server.answer)
        if self._server.is_cut:
            self._transport.close()


@asynccontextmanager
async def capturing_server() -> AsyncIterator[CapturingServer]:
    """A running one on a free port of 127.0.0.1."""
    server = CapturingServer()
    listening = await asyncio.get_running_loop().create_server(
        lambda: _Connection(server), "127.0.0.1", 0
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
