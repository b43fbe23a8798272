"""The service as its image runs it: a process with environment variables, on a real table and bucket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from libs.auth.testing import TokenIssuer
from libs.aws import Clients, marshal
from services.content_delivery.storage.rows import encode
from tests.backends import Backend
from tests.contract.content_delivery.clients import clients_of, new_bucket, new_table
from tests.unit.content_delivery.samples import SECRET_KEY, ready

ROOT = Path(__file__).parents[3]
MOVIE = bytes(range(256)) * 64
ISSUER = TokenIssuer()


class Process:
    """A running service and every line that it has written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.ensure_future(self._read())

    async def port(self) -> int:
        """The port it listens on, as it says itself."""
        async with asyncio.timeout(30):
            return await self._port

    async def stopped(self) -> int:
        """Ask it to stop; its exit code once it has written its last line."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await self._reading
            return await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode()
            self.lines.append(text)
            if not self._port.done() and '"event":"listening"' in text:
                self._port.set_result(json.loads(text)["port"])
        if not self._port.done():
            self._port.set_exception(RuntimeError("".join(self.lines)))


def variables_of(backend: Backend, **settings: str) -> dict[str, str]:
    """The environment of a task: the SDK's variables and the service's own."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "CONTENT_"))
    }
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return {**inherited, "PYTHONPATH": path, **backend.variables, **settings}


@asynccontextmanager
async def service_process(variables: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.content_delivery",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Process(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture()
async def jwks_url() -> AsyncIterator[str]:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response(ISSUER.jwks())

    app = web.Application()
    app.add_routes([web.get("/jwks.json", keys)])
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/jwks.json"))


@pytest.fixture()
async def clients(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Clients]:
    async with clients_of(ministack_backend, monkeypatch) as opened:
        yield opened


async def until_ready(session: aiohttp.ClientSession, base: str) -> None:
    """Wait for the keys to have been read: until then /readyz says 503."""
    async with asyncio.timeout(30):
        while True:
            async with session.get(f"{base}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.02)


async def test_from_start_to_stop(
    ministack_backend: Backend, clients: Clients, jwks_url: str
) -> None:
    """Deliver, download, refuse, stop; then read everything it logged at its finest level."""
    table, bucket = await new_table(ministack_backend), await new_bucket(ministack_backend)
    stored = await clients.s3.put_object(Bucket=bucket, Key=SECRET_KEY, Body=MOVIE)
    content = replace(ready(), etag=str(stored["ETag"]), size_bytes=len(MOVIE))
    broken = {**encode(ready("broken")), "objectKey": "backups/users.csv"}
    for row in (encode(content), broken):
        await clients.dynamodb.put_item(TableName=table, Item=marshal(row))
    token = ISSUER.token()
    variables = variables_of(
        ministack_backend,
        CONTENT_PORT="0",
        CONTENT_TABLE=table,
        CONTENT_BUCKET=bucket,
        CONTENT_AUTH_ISSUER=ISSUER.settings.issuer,
        CONTENT_AUTH_JWKS_URL=jwks_url,
        CONTENT_AUTH_CLIENT_IDS=ISSUER.client_id,
        CONTENT_LOG_LEVEL="DEBUG",
        CONTENT_VERSION="1.2.3",
    )
    async with service_process(variables) as running, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{await running.port()}"
        await until_ready(session, base)
        headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "the-first"}
        async with session.get(f"{base}/content/c-1", headers=headers) as response:
            assert response.status == 200
            document = await response.json()
        url = URL(document["url"], encoded=True)
        async with session.get(url, headers={"Range": "bytes=256-511"}) as response:
            assert response.status == 206
            assert response.headers["Content-Range"] == f"bytes 256-511/{len(MOVIE)}"
            assert response.headers["ETag"] == document["etag"]
            assert await response.read() == MOVIE[256:512]
        async with session.get(f"{base}/content/broken", headers=headers) as response:
            assert response.status == 500
        async with session.get(f"{base}/content/nowhere", headers=headers) as response:
            assert response.status == 404
        assert await running.stopped() == 0

    events = [json.loads(line) for line in running.lines]
    requests = [event for event in events if event["event"] == "request"]
    delivered = next(event for event in requests if event.get("requestId") == "the-first")
    assert {
        name: delivered[name] for name in ("level", "service", "version", "route", "status", "sub")
    } == {
        "level": "info",
        "service": "content_delivery",
        "version": "1.2.3",
        "route": "/content/{contentId}",
        "status": 200,
        "sub": "learner-a",
    }
    written = "".join(running.lines)
    assert "CorruptContentError" in written
    signature = re.search(r"X-Amz-Signature=(\w+)", document["url"])
    assert signature is not None
    for secret in ("mangrove", "backups", "X-Amz-", "response-content", signature[1], token):
        assert secret not in written, secret


async def test_a_bad_configuration_is_told_whole(ministack_backend: Backend) -> None:
    variables = variables_of(
        ministack_backend, CONTENT_PORT="70000", CONTENT_BUKET="a", CONTENT_LOG_LEVEL="LOUD"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.content_delivery",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert err.decode().splitlines() == [
        "CONTENT_BUCKET is missing",
        "CONTENT_PORT must be a whole number from 0 to 65535",
        "CONTENT_LOG_LEVEL must match DEBUG|INFO|WARNING|ERROR|CRITICAL",
        "CONTENT_AUTH_ISSUER is missing",
        "CONTENT_AUTH_JWKS_URL is missing",
        "CONTENT_AUTH_CLIENT_IDS is missing",
        "CONTENT_BUKET is not a known variable, did you mean CONTENT_BUCKET?",
    ]
