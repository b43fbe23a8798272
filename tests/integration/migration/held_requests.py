"""A way to a database on which one request can be held up, as where a network or a server stands still.

What is held reaches the database when it is let go, whether or not whoever sent it still waits. Owns
the connections alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

from tests.backends import Backend


class Way:
    """Passes requests on, one connection for each."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._words: tuple[bytes, ...] = ()
        self._let_go = asyncio.Event()
        self.is_holding = asyncio.Event()
        """Set while a request is held."""
        self.has_landed = asyncio.Event()
        """Set once the database has answered it."""

    def hold(self, *words: str) -> None:
        """The next request that has all of these words in it is held."""
        self._words = tuple(word.encode() for word in words)

    def let_go(self) -> None:
        self._let_go.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await _message(reader)
                is_held = bool(self._words) and all(word in request for word in self._words)
                if is_held:
                    self._words = ()
                    self.is_holding.set()
                    await self._let_go.wait()
                answer = await self._ask(request)
                if is_held:
                    self.has_landed.set()
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            return await _message(reader)
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


@asynccontextmanager
async def way_to(backend: Backend) -> AsyncIterator[tuple[Way, Backend]]:
    """The way, and the backend at its beginning."""
    address = urlsplit(backend.endpoint_url)
    assert address.hostname is not None
    assert address.port is not None
    way = Way(address.hostname, address.port)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield way, replace(backend, endpoint_url=f"http://127.0.0.1:{port}")
        way.let_go()
