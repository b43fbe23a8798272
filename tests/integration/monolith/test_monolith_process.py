"""The monolith as it runs: a process on its one table, and on a service's table once the gate says so."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.migration._context import Context
from deploy.migration._control import DRAINING, SWITCHED, TARGET, Control, Module
from deploy.migration._dynamodb import DynamoDBDatabase
from deploy.migration.mapping import SplitMapping, Table
from deploy.migration.mappings.lyceum import mapping
from libs.auth.testing import TokenIssuer
from libs.aws import unmarshal
from tests.backends import Backend, create_table
from tests.integration.service_process import (
    DEADLINE_SECONDS,
    ServiceProcess,
    refused_start,
    service_process,
)
from tests.unit.course_catalog.courses import CONTENT_BODY

ISSUER = TokenIssuer()
DEFINITIONS = {
    "source": Path("tests/monolith/table.json"),
    "control": Path("deploy/migration/control_table.json"),
    **{
        service: Path(f"services/{service}/table.json")
        for service in ("course_catalog", "content_delivery", "progress_tracking")
    },
}
UPDATE = {
    "occurredAt": "2026-01-02T03:04:05Z",
    "deviceId": "phone",
    "items": {"n-1": {"completed": True}},
}

_runs = count(1)


@pytest.fixture()
async def jwks_url() -> AsyncIterator[str]:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response(ISSUER.jwks())

    app = web.Application()
    app.add_routes([web.get("/jwks.json", keys)])
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/jwks.json"))


class World:
    """The tables, the running monolith, and its callers."""

    def __init__(self, tables: Mapping[str, str], dynamodb: Any, session: Any) -> None:
        self.tables = tables
        self.dynamodb = dynamodb
        self.session: aiohttp.ClientSession = session
        self.process: ServiceProcess
        self.split: SplitMapping = mapping(
            **{name: table for name, table in tables.items() if name != "control"}
        )
        self.control = Control(
            Context(
                name="test",
                mapping=self.split,
                database=DynamoDBDatabase(dynamodb, None),
                control=Table(tables["control"], "pk", "sk"),
                clock=time.monotonic,
                wall=time.time,
                sleep=asyncio.sleep,
                chance=random.Random(1),
            )
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        groups: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, Mapping[str, str]]:
        token = ISSUER.token(sub="ada", groups=groups)
        async with self.session.request(
            method,
            f"{self.process.base_url}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}", **(headers or {})},
        ) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def items(self, table: str) -> list[dict[str, Any]]:
        page = await self.dynamodb.scan(TableName=self.tables[table], ConsistentRead=True)
        return [dict(unmarshal(item)) for item in page["Items"]]

    async def set(self, module: str, **state: Any) -> None:
        """The module's row in the control table, as a switch writes it."""
        row = await self.control.read(f"state#module#{module}")
        known = Module(module) if row is None else Module(**row.values)
        await self.control.write(f"state#module#{module}", vars(replace(known, **state)), row)

    async def move(self, module: str) -> None:
        """What a migration has done once nothing is left to copy."""
        page = await self.dynamodb.scan(TableName=self.tables["source"], ConsistentRead=True)
        target = next(target for target in self.split.targets if target.module == module)
        for item in page["Items"]:
            for cell, row in self.split.rows(item).items():
                if cell.table == target.table.name:
                    await self.dynamodb.put_item(TableName=cell.table, Item=row)


@pytest.fixture()
async def world(
    request: pytest.FixtureRequest, ministack_backend: Backend, jwks_url: str
) -> AsyncIterator[World]:
    """A parameter says after how many seconds a fence counts as forgotten."""
    run = next(_runs)
    tables = {
        name: await create_table(ministack_backend, path, f"monolith{run}-{name}")
        for name, path in DEFINITIONS.items()
    }
    bucket = f"monolith{run}"
    async with AsyncExitStack() as stack:
        s3 = await stack.enter_async_context(ministack_backend.client("s3"))
        await s3.create_bucket(Bucket=bucket)
        dynamodb = await stack.enter_async_context(ministack_backend.client("dynamodb"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        found = World(tables, dynamodb, session)
        variables = dict(
            ministack_backend.variables,
            MONOLITH_PORT="0",
            MONOLITH_TABLE=tables["source"],
            MONOLITH_CONTROL_TABLE=tables["control"],
            MONOLITH_CATALOG_TABLE=tables["course_catalog"],
            MONOLITH_CONTENT_TABLE=tables["content_delivery"],
            MONOLITH_PROGRESS_TABLE=tables["progress_tracking"],
            MONOLITH_BUCKET=bucket,
            MONOLITH_AUTH_ISSUER=ISSUER.settings.issuer,
            MONOLITH_AUTH_JWKS_URL=jwks_url,
            MONOLITH_AUTH_CLIENT_IDS=ISSUER.client_id,
            MONOLITH_CURSOR_SECRETS="a-secret-of-at-least-thirty-two-bytes",
            MONOLITH_OUTLINE_CACHE_SECONDS="0",
            MONOLITH_REQUEST_TIMEOUT_SECONDS="25",
            MONOLITH_FENCE_SECONDS=getattr(request, "param", "300"),
            MONOLITH_GATE_LEASE_SECONDS="0.05",
            # An emulator on a busy machine: how patient the clients are is not what is tested.
            MONOLITH_LONGEST_REQUEST_SECONDS="20",
            MONOLITH_BREAKER_CALL_TIMEOUT_SECONDS="15",
        )
        found.process = await stack.enter_async_context(
            service_process("monolith", variables, package="tests")
        )
        await found.process.ready(session)
        yield found
        assert await found.process.stop() == 0, found.process.lines[-5:]


async def published(world: World, *, key: str = "once") -> str:
    status, course, headers = await world.ask(
        "POST", "/courses", CONTENT_BODY, groups=("authors",), headers={"Idempotency-Key": key}
    )
    assert status == 201, course
    status, _, _ = await world.ask(
        "POST",
        f"/courses/{course['id']}/publish",
        groups=("authors",),
        headers={"If-Match": headers["ETag"]},
    )
    assert status == 200
    return str(course["id"])


async def test_before_a_migration_everything_is_in_the_one_table(world: World) -> None:
    course = await published(world)
    status, progress, _ = await world.ask("PUT", f"/progress/me/{course}", UPDATE)
    # The outline is the catalog's: nothing has to be learnt first.
    assert (status, progress["percent"]) == (201, 66)
    status, content, _ = await world.ask(
        "POST",
        "/content",
        {
            "courseId": course,
            "title": "A film",
            "contentType": "video/mp4",
            "sizeBytes": 10,
            "position": 1,
        },
        groups=("authors",),
    )
    assert status == 201, content
    keys = {item["pk"].partition("#")[0] for item in await world.items("source")}
    assert keys == {"COURSE", "SLUG", "CONTENT", "USER", "IDEMPOTENCY"}
    for table in ("course_catalog", "content_delivery", "progress_tracking", "control"):
        assert await world.items(table) == []


async def test_a_request_waits_while_a_module_changes_hands_and_goes_on_in_its_new_table(
    world: World,
) -> None:
    course = await published(world)
    assert (await world.ask("PUT", f"/progress/me/{course}", UPDATE))[0] == 201
    await world.set("progress_tracking", fence="token-1", phase=DRAINING)
    more = {**UPDATE, "occurredAt": "2026-01-03T00:00:00Z", "items": {"n-2": {"completed": True}}}
    waiting = asyncio.create_task(world.ask("PUT", f"/progress/me/{course}", more))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    await world.move("progress_tracking")
    await world.set("progress_tracking", fence="", phase=SWITCHED, owner=TARGET, generation=1)
    async with asyncio.timeout(DEADLINE_SECONDS):
        status, progress, _ = await waiting
    assert (status, progress["status"], progress["completedCount"]) == (200, "completed", 2)
    (kept,) = (item for item in await world.items("source") if "PROGRESS#" in item["sk"])
    assert list(kept["completed"]) == ["n-1"]
    (row,) = (row for row in await world.items("progress_tracking") if row["sk"].endswith("#c"))
    assert len(row["completed"]) == 2
    # The catalog has not moved, and still tells the outlines.
    assert await world.items("course_catalog") == []


async def test_a_repetition_after_the_switch_gets_the_answer_from_before_it(world: World) -> None:
    course = await published(world, key="the-same")
    await world.move("course_catalog")
    await world.set("course_catalog", phase=SWITCHED, owner=TARGET, generation=1)
    status, again, _ = await world.ask(
        "POST",
        "/courses",
        CONTENT_BODY,
        groups=("authors",),
        headers={"Idempotency-Key": "the-same"},
    )
    assert (status, again["id"]) == (201, course)
    status, _, headers = await world.ask("GET", f"/courses/{course}", groups=("authors",))
    assert status == 200
    status, _, _ = await world.ask(
        "POST",
        f"/courses/{course}/archive",
        groups=("authors",),
        headers={"If-Match": headers["ETag"]},
    )
    assert status == 200
    kept = {item["pk"]: item for item in await world.items("source")}
    assert kept[f"COURSE#{course}"]["state"] == "live"
    rows = {row["courseId"]: row for row in await world.items("course_catalog")}
    assert rows[course]["status"] == "archived"


@pytest.mark.parametrize("world", ["1"], indirect=True)
async def test_a_fence_that_nobody_lifts_is_ended_by_the_application(world: World) -> None:
    course = await published(world)
    await world.set("progress_tracking", fence="forgotten", phase=DRAINING)
    async with asyncio.timeout(DEADLINE_SECONDS):
        status, _, _ = await world.ask("PUT", f"/progress/me/{course}", UPDATE)
    assert status == 201
    row = await world.control.read("state#module#progress_tracking")
    assert row is not None
    assert (row.values["fence"], row.values["owner"]) == ("", "source")


async def test_every_problem_of_its_settings_is_told_and_nothing_starts() -> None:
    finished = await refused_start(
        "monolith", {"MONOLITH_TABLE": "no table", "MONOLITH_PORT": "x"}, package="tests"
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    told = finished.stderr.splitlines()
    assert any(line.startswith("MONOLITH_TABLE ") for line in told)
    assert any(line.startswith("MONOLITH_PORT ") for line in told)
    assert any(line.startswith("MONOLITH_BUCKET ") for line in told)
