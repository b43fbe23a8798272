"""Which capacity units of DynamoDB requests of each kind consume, and how large stored rows are.

    ./pantsw run tests/bench/consumed_capacity.py -- --write deploy/rightsizing/capacity.json

The services' real applications answer the calls of `typical_traffic.py`, on the embedded AWS. Every
call to DynamoDB is accounted:

- a write by what the embedded AWS reports, per table and index: it counts by the item's size, as
  DynamoDB does (`tests/contract/course_catalog/test_consumed_capacity.py`,
  `tests/contract/progress_tracking/test_progress_capacity.py` hold it to that);
- a write whose condition failed by the size of the row that refused it: DynamoDB bills it, the
  emulator reports nothing;
- a read by the bytes of the rows that came back and DynamoDB's published rule, since the emulator
  does not count those by size. No query here has a filter, which would hide rows that are read.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html

`--write FILE` keeps the report for `deploy/rightsizing`, which describes its form; without it the
report is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from libs.aws import ConditionFailed, DynamoDB
from libs.aws._observer import consumed_capacity
from libs.idempotency import DynamoDBIdempotencyStore
from libs.logging import configure
from services.content_delivery import app as content_delivery
from services.content_delivery.config import Config as ContentConfig
from services.content_delivery.storage.dynamodb import DynamoContentRepository
from services.content_delivery.storage.s3 import S3ObjectStore
from services.course_catalog import app as course_catalog
from services.course_catalog.config import Config as CatalogConfig
from services.course_catalog.domain.course import Status
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.progress_tracking import app as progress_tracking
from services.progress_tracking.config import Config as ProgressConfig
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.bench.capacity_units import item_bytes, read_units, write_units
from tests.bench.typical_traffic import (
    SHAPE,
    TABLES,
    Operation,
    World,
    event_courses,
    operations,
    outline_of,
    typical_world,
)
from tests.unit.course_catalog.courses import instant

CALLS = 40


@dataclass
class Consumption:
    """Units by kind and place: the table itself, or one of its indexes."""

    read: dict[str, float]
    write: dict[str, float]
    calls: int = 0

    @classmethod
    def none(cls) -> Consumption:
        return cls(defaultdict(float), defaultdict(float))

    def per(self, count: int) -> dict[str, object]:
        """As the report has it, of one of `count`."""
        return {
            "calls": round(self.calls / count, 3),
            "read": {place: round(units / count, 3) for place, units in sorted(self.read.items())},
            "write": {
                place: round(units / count, 3) for place, units in sorted(self.write.items())
            },
        }


class Meter:
    """DynamoDB, whose calls are accounted."""

    def __init__(self, inner: DynamoDB) -> None:
        self._inner = inner
        self._consumed = Consumption.none()

    def take(self) -> Consumption:
        """What was consumed since this was asked last."""
        taken, self._consumed = self._consumed, Consumption.none()
        return taken

    async def get_item(self, **params: Any) -> Mapping[str, Any]:
        answer = await self._inner.get_item(**params)
        self._read("table", [[answer.get("Item", {})]], consistent=params.get("ConsistentRead"))
        return answer

    async def query(self, **params: Any) -> Mapping[str, Any]:
        answer = await self._inner.query(**params)
        place = params.get("IndexName", "table")
        self._read(place, [answer["Items"]], consistent=params.get("ConsistentRead"))
        return answer

    async def batch_get_item(self, **params: Any) -> Mapping[str, Any]:
        answer = await self._inner.batch_get_item(**params)
        for table, request in params["RequestItems"].items():
            found = answer["Responses"].get(table, [])
            missing = len(request["Keys"]) - len(found)
            # Each row is rounded up by itself, and one that is not there costs as a small one.
            rows = [[row] for row in found] + [[{}]] * missing
            self._read("table", rows, consistent=request.get("ConsistentRead"))
        return answer

    async def put_item(self, **params: Any) -> Mapping[str, Any]:
        return await self._write(self._inner.put_item, params)

    async def update_item(self, **params: Any) -> Mapping[str, Any]:
        return await self._write(self._inner.update_item, params)

    async def delete_item(self, **params: Any) -> Mapping[str, Any]:
        return await self._write(self._inner.delete_item, params)

    async def transact_write_items(self, **params: Any) -> Mapping[str, Any]:
        return await self._write(self._inner.transact_write_items, params)

    def _read(
        self, place: str, groups: list[list[Mapping[str, Any]]], *, consistent: bool | None
    ) -> None:
        self._consumed.calls += 1
        for group in groups:
            self._consumed.read[place] += read_units(group, consistent=bool(consistent))

    async def _write(self, function: Any, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self._consumed.calls += 1
        try:
            answer: Mapping[str, Any] = await function(**params)
        except ConditionFailed as failed:
            self._consumed.write["table"] += write_units(failed.item or {})
            raise
        for one in consumed_capacity(answer, "write"):
            self._consumed.write[one.index or "table"] += one.units
        return answer


@asynccontextmanager
async def served(service: str, world: World, meter: Meter) -> AsyncIterator[str]:
    """The service's application over the meter; gives its address."""
    async with TestServer(_application(service, world, meter), host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


def _application(service: str, world: World, meter: Meter) -> web.Application:
    """As the service's own `real_dependencies` make it, but for who counts in between."""
    # A refresh of the directory is no part of any request; it is measured by itself.
    settings = {"DIRECTORY_REFRESH_SECONDS": "300"} if service == "course_catalog" else {}
    variables = world.variables(service, **settings)
    dynamodb, table = cast(DynamoDB, meter), TABLES[service]
    if service == "course_catalog":
        catalog = CatalogConfig.from_environment(variables)

        @asynccontextmanager
        async def courses() -> AsyncIterator[course_catalog.Storage]:
            yield course_catalog.Storage(
                courses=DynamoDBCourseRepository(dynamodb, table),
                keys=DynamoDBIdempotencyStore(
                    dynamodb, table, key_attributes=["courseId"], ttl_attribute="expiresAt"
                ),
            )

        return course_catalog.create_app(
            catalog,
            dependencies=replace(course_catalog.real_dependencies(catalog), open_storage=courses),
        )
    if service == "content_delivery":
        content = ContentConfig.from_environment(variables)

        @asynccontextmanager
        async def contents() -> AsyncIterator[content_delivery.Storage]:
            yield content_delivery.Storage(
                contents=DynamoContentRepository(dynamodb, table=table),
                objects=S3ObjectStore(world.clients.s3, bucket=content.bucket),
                idempotency=DynamoDBIdempotencyStore(
                    dynamodb, table, key_attributes=["contentId"], ttl_attribute="purgeAt"
                ),
            )

        return content_delivery.create_app(
            content,
            dependencies=replace(
                content_delivery.real_dependencies(content), open_storage=contents
            ),
        )
    progress = ProgressConfig.from_environment(variables)

    @asynccontextmanager
    async def repository() -> AsyncIterator[DynamoDBProgressRepository]:
        yield DynamoDBProgressRepository(dynamodb, table=table)

    return progress_tracking.create_app(
        progress,
        dependencies=replace(
            progress_tracking.real_dependencies(progress), open_repository=repository
        ),
    )


async def measure(
    operation: Operation, base: str, meter: Meter, session: aiohttp.ClientSession
) -> dict[str, object]:
    """One operation's units, of one request."""
    meter.take()
    calls = operation.calls()
    count = 0
    for call in _first(calls, CALLS):
        async with session.request(
            call.method, base + call.path, data=call.body, headers=call.headers
        ) as response:
            body = await response.read()
        assert response.status == call.status, (call, response.status, body)
        count += 1
    return {"service": operation.service, "requests": count, **meter.take().per(count)}


async def _ready(base: str, session: aiohttp.ClientSession) -> None:
    """Wait until what the service reads at its start has been read."""
    async with asyncio.timeout(60):
        while True:
            async with session.get(f"{base}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.02)


def _first(calls: Iterator[Any], count: int) -> Iterator[Any]:
    return (call for call, _ in zip(calls, range(count), strict=False))


async def background(meter: Meter) -> dict[str, object]:
    """What is consumed without any request."""
    dynamodb = cast(DynamoDB, meter)
    catalog = DynamoDBCourseRepository(dynamodb, TABLES["course_catalog"])
    meter.take()
    _ = [batch async for batch in catalog.changes(instant(10_000_000_000))]
    refresh = meter.take().per(1)
    courses = 0
    async for batch in catalog.listing(Status.PUBLISHED):
        courses += len(batch)
    load = meter.take().per(courses)
    progress = DynamoDBProgressRepository(dynamodb, table=TABLES["progress_tracking"])
    learnt = 0
    for course in _first(event_courses(), CALLS):
        await progress.learn_outline(outline_of(course, version=1000))
        learnt += 1
    learn = meter.take().per(learnt)
    read_again = [f"crs-{number}" for number in range(CALLS)]
    await progress.read_outlines(read_again)
    outline = meter.take().per(len(read_again))
    return {
        "directoryRefresh": {"service": "course_catalog", "of": "a refresh", **refresh},
        "directoryLoad": {"service": "course_catalog", "of": "a course", **load},
        "learnOutline": {"service": "progress_tracking", "of": "an outline", **learn},
        "readOutline": {"service": "progress_tracking", "of": "an outline", **outline},
    }


async def row_bytes(world: World) -> dict[str, object]:
    """The mean size of what is stored, by what it belongs to."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for service, table in TABLES.items():
        start: dict[str, object] = {}
        while True:
            answer = await world.clients.dynamodb.scan(TableName=table, **start)
            for item in answer["Items"]:
                sizes[_kind(service, item)].append(item_bytes(item))
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    return {kind: round(sum(of) / len(of)) for kind, of in sorted(sizes.items())}


def _kind(service: str, item: Mapping[str, Mapping[str, str]]) -> str:
    if service == "content_delivery":
        return "content" if "#" not in item["contentId"]["S"] else "idempotencyKey"
    if service == "course_catalog":
        prefix, sign, _ = item["courseId"]["S"].partition("#")
        return {"slug": "slug", "outline": "outlineEvent", "idempotency": "idempotencyKey"}.get(
            prefix if sign else "", "course"
        )
    key = item["sk"]["S"]
    if key == "OUTLINE":
        return "learntOutline"
    if key.startswith("P#"):
        return "contentProgress"
    return "courseProgress" if key.endswith("#c") else "resumePoint"


async def run() -> dict[str, object]:
    """Measure everything."""
    measured: dict[str, object] = {}
    async with typical_world() as world, aiohttp.ClientSession() as session:
        meter = Meter(world.clients.dynamodb)
        sizes = await row_bytes(world)
        for service in TABLES:
            async with served(service, world, meter) as base:
                await _ready(base, session)
                for operation in operations():
                    if operation.service == service:
                        measured[operation.name] = await measure(operation, base, meter, session)
        others = await background(meter)
    return {
        "version": 1,
        "measuredOn": datetime.now(UTC).date().isoformat(),
        "by": "tests/bench/consumed_capacity.py",
        "shape": dict(SHAPE),
        "tables": {service: TABLES[service] for service in TABLES},
        "operations": measured,
        "background": others,
        "rowBytes": sizes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", metavar="FILE", type=Path, help="keep the report in a file")
    options = parser.parse_args()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure(service="bench", version="0", level="ERROR", stream=nowhere)
        text = json.dumps(asyncio.run(run()), indent=2) + "\n"
    if options.write is None:
        sys.stdout.write(text)
    else:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
