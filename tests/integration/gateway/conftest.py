"""A gateway on a real socket, with real servers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import aiohttp
import pytest
from aiohttp import web

from deploy.local._gateway import (
    Access,
    Gateway,
    Limits,
    ServiceRoutes,
    Stage,
    create_server,
    open_session,
)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(server: web.Server) -> AsyncIterator[str]:
    """``server`` on a free port; gives its URL."""
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@dataclass
class Running:
    """The gateway under test, and what it logged."""

    url: str
    gateway: Gateway
    accesses: list[Access] = field(default_factory=list)

    @property
    def host_and_port(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    async def raw(self, request: bytes) -> bytes:
        """Sends ``request`` as it stands; gives all that comes back until the connection closes."""
        reader, writer = await asyncio.open_connection(*self.host_and_port)
        writer.write(request)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


class Bench:
    """Starts servers and gateways that end with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def service(self, handler: Handler) -> str:
        """An HTTP server whose every request goes to ``handler``; its URL."""
        server = web.Server(handler, access_log=None, auto_decompress=False)
        return await self._stack.enter_async_context(listening(server))

    async def raw_service(self, handler: RawHandler) -> str:
        """A TCP server that speaks as ``handler`` likes; its URL."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._stack.callback(server.close)
        host, port = server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def gateway(
        self, stage: str | Stage, limits: Limits | None = None, *, seed: int = 1
    ) -> Running:
        """A gateway whose ``/things``, ``/things/{id}`` and ``/files/{id}`` go to a URL, or by
        ``stage``."""
        if isinstance(stage, str):
            stage = leading_to(stage)
        return await self.gateway_of({"things": routes(stage)}, limits, seed=seed)

    async def gateway_of(
        self, services: Mapping[str, ServiceRoutes], limits: Limits | None, *, seed: int = 1
    ) -> Running:
        accesses: list[Access] = []
        gateway = Gateway(
            services,
            await self._stack.enter_async_context(open_session(limits)),
            random=Random(seed),
            now=lambda: 0x65A0B1C2,
            token_hex=lambda nbytes: "ab" * nbytes,
            log=accesses.append,
            limits=limits,
        )
        url = await self._stack.enter_async_context(listening(create_server(gateway)))
        return Running(url, gateway, accesses)


def leading_to(url: str, *, canary: tuple[float, str] | None = None) -> Stage:
    """A stage that leads to a URL, and a percentage of its requests to another."""
    return Stage.leading_to(
        url.removeprefix("http://"),
        canary=canary and (canary[0], canary[1].removeprefix("http://")),
    )


def routes(stage: Stage) -> ServiceRoutes:
    """What ``Bench.gateway`` routes."""
    return ServiceRoutes(("/things", "/things/{id}", "/files/{id}"), stage)


@pytest.fixture()
async def bench() -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(stack)


@pytest.fixture()
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session
