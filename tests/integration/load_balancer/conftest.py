"""The load balancer's process on real sockets, with real servers behind it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local.embedded_aws._containers._data_plane import DataPlane
from deploy.local.embedded_aws._load_balancer._control import Counts, Listener, Target

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Balancing:
    """One listener, and what it counted."""

    plane: DataPlane
    port: int
    counts: list[Mapping[str, Counts]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def to(self, *targets: Target, idle_seconds: float = 60.0) -> None:
        """Requests go to these targets from the return on."""
        listener = Listener("web", "group", "127.0.0.1", self.port, targets, idle_seconds)
        refused = await self.plane.route((listener,))
        assert refused == {}

    async def raw(self, request: bytes) -> bytes:
        """Sends it as it stands; all that comes back until the connection closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


class Servers:
    """Targets that end with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def http(self, handler: Handler) -> Target:
        """Every request goes to `handler`."""
        server = web.Server(handler, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return Target(*runner.addresses[0][:2])

    async def raw(self, handler: RawHandler) -> Target:
        """It speaks as `handler` likes."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return Target(*server.sockets[0].getsockname())

    def nobody(self) -> Target:
        """A port that nothing listens on."""
        free = socket.socket()
        self._stack.callback(free.close)
        free.bind(("127.0.0.1", 0))
        return Target(*free.getsockname())


@pytest.fixture()
async def servers() -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(stack)


@pytest.fixture()
async def balancing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Balancing]:
    paths = [str(REPOSITORY_ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    counts: list[Mapping[str, Counts]] = []
    plane = DataPlane(counts.append)
    await plane.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        yield Balancing(plane, port, counts)
    finally:
        await plane.close()


@pytest.fixture()
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session
