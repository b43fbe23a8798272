"""The service as its own process, on moto behind a door that a test can shut.

Not on MiniStack: its guard, rightly, answers to no Host but its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from libs.auth.testing import TokenIssuer
from tests.backends import Backend, create_table
from tests.integration.service_process import ServiceProcess, service_process

DEADLINE_SECONDS = 30.0


class Door:
    """Forwards TCP connections to a backend, until it is shut: then nothing answers any more."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self._open = True
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.url = URL()

    @asynccontextmanager
    async def built(self) -> AsyncIterator[Door]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = URL(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")
        try:
            yield self
        finally:
            self.shut()
            self._server.close()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    def shut(self) -> None:
        """Break every connection and refuse new ones."""
        self._open = False
        for pump in self._pumps:
            pump.cancel()

    def open(self) -> None:
        self._open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        try:
            if not self._open:
                return
            assert self._target.host is not None
            there, back = await asyncio.open_connection(self._target.host, self._target.port)
            try:
                await asyncio.gather(_pump(reader, back), _pump(there, writer))
            finally:
                back.close()
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Caller:
    """Who calls a running service over its port, with a token for every request."""

    def __init__(
        self, process: ServiceProcess, issuer: TokenIssuer, session: aiohttp.ClientSession
    ) -> None:
        self.process = process
        self._issuer = issuer
        self._session = session

    async def get(self, path: str, *groups: str) -> tuple[int, Mapping[str, str], object]:
        headers = {"Authorization": f"Bearer {self._issuer.token(groups=groups)}"}
        url = f"{self.process.base_url}{path}"
        async with self._session.get(url, headers=headers) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def post(
        self, path: str, body: object, key: str
    ) -> tuple[int, Mapping[str, str], object]:
        """Send an author's creating request under an idempotency key."""
        headers = {
            "Authorization": f"Bearer {self._issuer.token(groups=['authors'])}",
            "Idempotency-Key": key,
        }
        url = f"{self.process.base_url}{path}"
        async with self._session.post(url, json=body, headers=headers) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def until(self, path: str, condition: object) -> Mapping[str, str]:
        """Ask until `condition(status, headers)` holds; the headers it held for."""
        assert callable(condition)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            status, headers, _ = await self.get(path)
            if condition(status, headers):
                return headers
            assert time.monotonic() < deadline, f"{path}: it stays {status} {dict(headers)}"


@asynccontextmanager
async def running_catalog(
    issuer: TokenIssuer, variables: Mapping[str, str]
) -> AsyncIterator[Caller]:
    """The service as a process that listens, and its caller."""
    async with (
        service_process("course_catalog", variables) as process,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(process, issuer, session)


@pytest.fixture()
async def issuer() -> AsyncIterator[tuple[TokenIssuer, URL]]:
    """A token issuer, and where it publishes its keys."""
    made = TokenIssuer()

    async def keys(_: web.Request) -> web.Response:
        return web.json_response(made.jwks())

    app = web.Application()
    app.router.add_get("/jwks.json", keys)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield made, server.make_url("/jwks.json")
    with suppress(Exception):
        await server.close()


@pytest.fixture()
async def door(moto_backend: Backend) -> AsyncIterator[Door]:
    """A way to moto that can be shut."""
    async with Door(URL(moto_backend.endpoint_url)).built() as door:
        yield door


@pytest.fixture()
async def table(moto_backend: Backend, request: pytest.FixtureRequest) -> str:
    """An empty table of the test's own."""
    name = f"CourseCatalog-{request.node.name}"
    return await create_table(moto_backend, Path("services/course_catalog/table.json"), name)


@pytest.fixture()
def variables(
    moto_backend: Backend, issuer: tuple[TokenIssuer, URL], door: Door, table: str
) -> dict[str, str]:
    """The environment of a service process that answers fast and gives up fast."""
    made, jwks_url = issuer
    return {
        **moto_backend.variables,
        "AWS_ENDPOINT_URL": str(door.url),
        "CATALOG_PORT": "0",
        "CATALOG_TABLE": table,
        "CATALOG_AUTH_ISSUER": made.settings.issuer,
        "CATALOG_AUTH_JWKS_URL": str(jwks_url),
        "CATALOG_AUTH_CLIENT_IDS": ",".join(made.settings.client_ids),
        "CATALOG_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
        "CATALOG_DIRECTORY_REFRESH_SECONDS": "0.2",
        "CATALOG_DIRECTORY_STALE_SECONDS": "1",
        "CATALOG_DIRECTORY_WAIT_SECONDS": "0.2",
        "CATALOG_BREAKER_OPEN_SECONDS": "0.2",
        "CATALOG_TRACING_RATE": "0",
    }
