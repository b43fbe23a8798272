"""The service as its image runs it: a process with environment variables, on a real table and bucket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

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
from tests.integration.metric_lines import figures
from tests.integration.service_process import refused_start, service_process
from tests.unit.content_delivery.samples import SECRET_KEY, ready

MOVIE = bytes(range(256)) * 64
ISSUER = TokenIssuer()


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
    variables = dict(
        ministack_backend.variables,
        CONTENT_PORT="0",
        CONTENT_TABLE=table,
        CONTENT_BUCKET=bucket,
        CONTENT_AUTH_ISSUER=ISSUER.settings.issuer,
        CONTENT_AUTH_JWKS_URL=jwks_url,
        CONTENT_AUTH_CLIENT_IDS=ISSUER.client_id,
        CONTENT_CURSOR_SECRETS="a-secret-of-at-least-thirty-two-bytes",
        CONTENT_LOG_LEVEL="DEBUG",
        CONTENT_SLOW_REQUEST_SECONDS="0.000001",
        CONTENT_ACCESS_LOG_SAMPLE_RATE="0",
        CONTENT_VERSION="1.2.3",
    )
    async with (
        service_process("content_delivery", variables) as running,
        aiohttp.ClientSession() as session,
    ):
        base = running.base_url
        await running.ready(session)
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
        assert await running.stop() == 0

    events = running.events
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
    slow = next(event for event in events if event["event"] == "slow_request")
    assert (slow["requestId"], slow["route"]) == ("the-first", "/content/{contentId}")
    assert [call["operation"] for call in slow["slowestCalls"]] == ["GetItem"]
    counted = figures(events, service="content_delivery")
    route = ("/content/{contentId}", "GET")
    assert counted["RequestCount", *route] == 3
    assert (counted["ErrorCount", *route], counted["FaultCount", *route]) == (1, 1)
    assert counted["DependencyLatency", "dynamodb", "GetItem"] == 3
    assert counted["ConsumedReadCapacityUnits", table, "(table)"] >= 2
    assert (counted["CacheHits", "contents"], counted["CacheMisses", "contents"]) == (0, 3)
    assert counted["CacheEntries", "contents"] == 1
    assert (counted["BreakerState", "s3:read"], counted["BreakerState", "s3:write"]) == (0, 0)
    written = "".join(running.lines)
    assert "CorruptContentError" in written
    signature = re.search(r"X-Amz-Signature=(\w+)", document["url"])
    assert signature is not None
    for secret in ("mangrove", "backups", "X-Amz-", "response-content", signature[1], token):
        assert secret not in written, secret


async def test_a_bad_configuration_is_told_whole(ministack_backend: Backend) -> None:
    variables = dict(
        ministack_backend.variables,
        CONTENT_PORT="70000",
        CONTENT_BUKET="a",
        CONTENT_LOG_LEVEL="LOUD",
    )
    refused = await refused_start("content_delivery", variables)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        "CONTENT_CURSOR_SECRETS is missing",
        "CONTENT_BUCKET is missing",
        "CONTENT_PORT must be a whole number from 0 to 65535",
        "CONTENT_LOG_LEVEL must match DEBUG|INFO|WARNING|ERROR|CRITICAL",
        "CONTENT_AUTH_ISSUER is missing",
        "CONTENT_AUTH_JWKS_URL is missing",
        "CONTENT_AUTH_CLIENT_IDS is missing",
        "CONTENT_BUKET is not a known variable, did you mean CONTENT_BUCKET?",
    ]
