"""The service as its image runs it: a process on uvloop with environment variables, on a real table,
traced to a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from libs.auth.testing import TokenIssuer
from libs.timestamps import format_timestamp
from libs.tracing.testing import UdpCollector
from tests.backends import Backend
from tests.contract.progress_tracking.table import new_table
from tests.integration.metric_lines import figures
from tests.integration.service_process import refused_start, service_process

SECRET = "a-secret-of-at-least-thirty-two-bytes"
ISSUER = TokenIssuer()


@pytest.fixture()
async def jwks_url() -> AsyncIterator[str]:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response(ISSUER.jwks())

    app = web.Application()
    app.add_routes([web.get("/jwks.json", keys)])
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/jwks.json"))


def dynamodb_tables(entity: Mapping[str, Any]) -> list[str]:
    """The tables of the DynamoDB sub-segments below an entity."""
    own = [entity["aws"]["table_name"]] if "table_name" in entity.get("aws", {}) else []
    return own + [
        name for child in entity.get("subsegments", []) for name in dynamodb_tables(child)
    ]


async def test_from_start_to_stop(ministack_backend: Backend, jwks_url: str) -> None:
    """Two devices record out of order; the learner reads it back; every request is one trace."""
    table = await new_table(ministack_backend)
    now = datetime.now(UTC)
    earlier = format_timestamp(now - timedelta(minutes=10))
    later = format_timestamp(now - timedelta(minutes=5))
    async with UdpCollector() as daemon, aiohttp.ClientSession() as session:
        variables = dict(
            ministack_backend.variables,
            PROGRESS_PORT="0",
            PROGRESS_TABLE=table,
            PROGRESS_AUTH_ISSUER=ISSUER.settings.issuer,
            PROGRESS_AUTH_JWKS_URL=jwks_url,
            PROGRESS_AUTH_CLIENT_IDS=ISSUER.client_id,
            PROGRESS_CURSOR_SECRETS=SECRET,
            PROGRESS_TRACING_DAEMON=daemon.address,
            PROGRESS_TRACING_RATE="1",
            PROGRESS_VERSION="1.2.3",
        )
        headers = {"Authorization": f"Bearer {ISSUER.token()}", "X-Request-Id": "the-first"}
        async with service_process("progress_tracking", variables) as running:
            base = running.base_url
            await running.ready(session)
            course = f"{base}/progress/me/crs-1"
            newest = {
                "occurredAt": later,
                "deviceId": "phone",
                "resume": {"contentId": "tides", "positionSeconds": 90},
            }
            late = {
                "occurredAt": earlier,
                "deviceId": "laptop",
                "resume": {"contentId": "intro", "positionSeconds": 10},
                "items": {"intro": {"completed": True}},
            }
            async with session.put(course, json=newest, headers=headers) as response:
                assert response.status == 201
            async with session.put(course, json=late, headers=headers) as response:
                assert response.status == 200
                written = await response.json()
            async with session.get(course, headers=headers) as response:
                assert response.status == 200
                assert await response.json() == written
            assert written["resume"]["contentId"] == "tides"
            assert written["startedAt"] == earlier
            assert written["items"]["intro"]["completedAt"] == earlier
            async with session.get(f"{base}/progress/somebody", headers=headers) as response:
                assert response.status == 403
            async with session.get(f"{base}/progress/me", headers=headers) as response:
                listed = await response.json()
                assert [item["courseId"] for item in listed["items"]] == ["crs-1"]
            assert await running.stop() == 0
        segments = await daemon.wait_for(5)

    recorded = [
        segment
        for segment in segments
        if segment.get("http", {}).get("request", {}).get("method") == "PUT"
    ]
    assert len(recorded) == 2
    # Two Queries and two rows, and the outline's look-up for the first; one row for the second.
    assert [dynamodb_tables(segment) for segment in recorded] == [[table] * 5, [table] * 3]
    events = running.events
    assert next(event for event in events if event["event"] == "listening")["loop"] == "uvloop"
    requests = [event for event in events if event["event"] == "request"]
    first = next(event for event in requests if event.get("requestId") == "the-first")
    assert {
        name: first[name] for name in ("level", "service", "version", "route", "status", "sub")
    } == {
        "level": "info",
        "service": "progress_tracking",
        "version": "1.2.3",
        "route": "/progress/{userId}/{courseId}",
        "status": 201,
        "sub": "learner-a",
    }
    counted = figures(events, service="progress_tracking")
    assert counted["RequestCount", "/progress/{userId}/{courseId}", "PUT"] == 2
    assert counted["RequestCount", "/progress/{userId}", "GET"] == 2
    assert counted["ErrorCount", "/progress/{userId}", "GET"] == 1
    assert counted["ConsumedWriteCapacityUnits", table, "(table)"] >= 3
    assert counted["DependencyLatency", "dynamodb", "UpdateItem"] >= 3
    assert counted["CacheHits", "outlines"] >= 1
    assert counted["CacheMisses", "outlines"] >= 1
    # The learner's and the course's ids are in no dimension.
    assert not any("crs-1" in figure or "learner-a" in figure for figure in counted)
    written_lines = "".join(running.lines)
    assert headers["Authorization"].removeprefix("Bearer ") not in written_lines
    assert SECRET not in written_lines


async def test_a_table_that_is_not_there_is_503_and_not_500(
    ministack_backend: Backend, jwks_url: str
) -> None:
    """The dependency refuses connections: the first requests find out, the breaker then spares it."""
    variables = dict(
        ministack_backend.variables,
        PROGRESS_PORT="0",
        PROGRESS_AUTH_ISSUER=ISSUER.settings.issuer,
        PROGRESS_AUTH_JWKS_URL=jwks_url,
        PROGRESS_AUTH_CLIENT_IDS=ISSUER.client_id,
        PROGRESS_CURSOR_SECRETS=SECRET,
        PROGRESS_BREAKER_FAILURE_THRESHOLD="2",
        # Bound and closed again: nobody listens there.
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{await _free_port()}",
    )
    headers = {"Authorization": f"Bearer {ISSUER.token()}"}
    async with (
        service_process("progress_tracking", variables) as running,
        aiohttp.ClientSession() as session,
    ):
        base = running.base_url
        await running.ready(session)
        for _ in range(4):
            async with session.get(f"{base}/progress/me", headers=headers) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) >= 1
                assert (await response.json())["code"] == "dependency_unavailable"
        async with session.get(f"{base}/readyz") as response:
            # A breaker is no reason to take the process out of service.
            assert response.status == 200
            assert (await response.json())["breakers"]["dynamodb:read"]["state"] == "open"
        assert await running.stop() == 0


async def test_a_bad_configuration_is_told_whole(ministack_backend: Backend) -> None:
    variables = dict(
        ministack_backend.variables,
        PROGRESS_PORT="70000",
        PROGRESS_TABEL="a",
        PROGRESS_LOG_LEVEL="LOUD",
    )
    refused = await refused_start("progress_tracking", variables)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        "PROGRESS_CURSOR_SECRETS is missing",
        "PROGRESS_PORT must be a whole number from 0 to 65535",
        "PROGRESS_LOG_LEVEL must match DEBUG|INFO|WARNING|ERROR|CRITICAL",
        "PROGRESS_AUTH_ISSUER is missing",
        "PROGRESS_AUTH_JWKS_URL is missing",
        "PROGRESS_AUTH_CLIENT_IDS is missing",
        "PROGRESS_TABEL is not a known variable, did you mean PROGRESS_TABLE?",
    ]


async def _free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
