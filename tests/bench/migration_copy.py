"""How fast a migration copies beside bare conditional puts, and that it holds no more of a larger table.

    ./pantsw run tests/bench/migration_copy.py
    ./pantsw run tests/bench/migration_copy.py -- --items 2000 --rounds 3

JSON lines. `copy`: rows a second of a worker that copies from one table of the embedded AWS to
others, beside the same rows put bare, by the same client, on the same condition, as many at the same
time, into tables just as new; side by side, round by round, the ratio of the medians. What the copy does besides
is reading the source, mapping, and writing down how far it is. `memory`: the greatest resident
memory of a process that plans and copies so many items in the simulator, beside a process that does
the same with few.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aioboto3
from botocore.config import Config

from deploy.migration._cells import backfill_condition
from deploy.migration._context import Context, Settings
from deploy.migration._dynamodb import DynamoDBDatabase, Expression
from deploy.migration._items import MARK, START, Item, Mark, Order, marked
from deploy.migration._ports import Condition, Page
from deploy.migration.commands import Migration
from deploy.migration.mapping import SplitMapping, Table
from deploy.migration.mappings.lyceum import mapping
from deploy.migration.worker import Worker
from libs.aws import direct_calls, marshal
from tests.backends import Backend, running_ministack
from tests.unit.migration.simulator.endless import copied

SETTINGS = Settings(segments=4, units_per_second=1e9, settle=0.5, gate_lease=0.2)
"""As by default but for the number of segments, no throttle, and no waiting for what is not timed."""
_STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


@dataclass
class Rate:
    """Rows, the seconds that they took, and this process's share of the processor."""

    rows: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        return self.cpu_seconds / self.rows * 1e6


def legacy_items(count: int) -> Iterator[Item]:
    """Half contents, half courses' progress of a learner with a few places: typical of the monolith."""
    for number in range(count // 2):
        yield marshal(
            {
                "pk": f"CONTENT#c{number}", "sk": "META", "course": f"crs-{number % 40}",
                "order": number % 60, "title": f"The lecture of the number {number}",
                "state": "ready", "s3Key": f"content/c{number}/original", "mime": "video/mp4",
                "bytes": 52_428_800, "seconds": 900, "rev": 3,
                "createdAt": "2024-02-03T10:20:30.123Z", "updatedAt": "2024-02-04T10:20:30.123Z",
            }
        )  # fmt: skip
        yield marshal(
            {
                "pk": f"USER#u{number}", "sk": f"PROGRESS#crs-{number % 40}", "attempt": 1,
                "startedAt": "2024-02-03T10:20:30.123Z", "updatedAt": "2024-03-03T10:20:30.123Z",
                "completed": {f"c{n}": "2024-02-05T10:20:30.123Z" for n in range(8)},
                "places": {f"c{n}": {"fraction": 0.25, "position": 200} for n in range(2)},
            }
        )  # fmt: skip


class Stage:
    """Tables of the embedded AWS, new ones for each round."""

    def __init__(self, dynamodb: Any, streams: Any, items: Sequence[Item]) -> None:
        self._dynamodb = dynamodb
        self._database = TimedDatabase(dynamodb, streams)
        self._items = items
        self._rounds = 0

    async def load(self) -> None:
        """The source, which all rounds read. Its stream is newer than what stands there, or else all
        of it would be replicated too, beside the copy."""
        source = self._split().source
        await self._create(source, stream=False)
        for start in range(0, len(self._items), 25):
            await self._dynamodb.batch_write_item(
                RequestItems={
                    source.name: [
                        {"PutRequest": {"Item": item}} for item in self._items[start : start + 25]
                    ]
                }
            )
        await self._dynamodb.update_table(TableName=source.name, StreamSpecification=_STREAM)

    def _split(self) -> SplitMapping:
        number = self._rounds
        return mapping(
            source="Monolith", course_catalog=f"Catalog{number}",
            content_delivery=f"Content{number}", progress_tracking=f"Progress{number}",
        )  # fmt: skip

    async def bare(self) -> Rate:
        """The rows, put bare, as many at a time as the copy has on their way."""
        split = await self._begin()
        requests = iter(list(self._requests(split)))
        count = 0

        async def put_on() -> None:
            nonlocal count
            for request in requests:
                await self._dynamodb.put_item(**request)
                count += 1

        began, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(put_on() for _ in range(SETTINGS.segments * SETTINGS.concurrency)))
        return Rate(count, time.monotonic() - began, time.process_time() - cpu)

    def _requests(self, split: SplitMapping) -> Iterator[dict[str, Any]]:
        """The very requests that the copy makes."""
        mark = Mark(Order(1, START))
        for item in self._items:
            placed = split.place(item)
            assert placed.rule is not None
            table = placed.rule.target.table
            expression = Expression()
            text = expression.write(backfill_condition(table, 1, adopt=False))
            for row in placed.rows.values():
                yield {
                    "TableName": table.name,
                    "Item": marked(row, mark),
                    "ConditionExpression": text,
                    "ExpressionAttributeNames": expression.names,
                    "ExpressionAttributeValues": expression.values,
                    "ReturnConsumedCapacity": "TOTAL",
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }

    async def copy(self) -> Rate:
        """A migration's backfill by one worker, from the first page to the last."""
        split = await self._begin()
        rows = sum(len(split.rows(item)) for item in self._items)
        control = Table(f"Control{self._rounds}", "pk", "sk")
        await self._create(control, stream=False)

        def context(name: str) -> Context:
            return Context(
                name, split, self._database, control, time.monotonic, time.time, asyncio.sleep,
                random.Random(name), SETTINGS,
            )  # fmt: skip

        migration = Migration(context("operator"))
        await migration.start()
        worker = Worker(context("worker"))
        self._database.begin(split.source.name)
        working = asyncio.create_task(worker.run())
        await migration.copied()
        worker.stop()
        await working
        return self._database.rate(rows)

    async def _begin(self) -> SplitMapping:
        self._rounds += 1
        split = self._split()
        for target in split.targets:
            await self._create(target.table, stream=True)
        return split

    async def _create(self, table: Table, *, stream: bool) -> None:
        keys = [("HASH", table.partition), *([("RANGE", table.sort)] if table.sort else [])]
        await self._dynamodb.create_table(
            TableName=table.name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for kind, name in keys],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for _, n in keys],
            **({"StreamSpecification": _STREAM} if stream else {}),
        )


class TimedDatabase(DynamoDBDatabase):
    """Knows when a copy read its first page and when its last row was answered."""

    def begin(self, source: str) -> None:
        """Of a table of that name."""
        self._source = source
        self._began: tuple[float, float] | None = None
        self._ended = (0.0, 0.0)

    async def scan(self, table: Table, **options: Any) -> Page:
        """As `Database.scan`."""
        if getattr(self, "_source", None) == table.name and self._began is None:
            self._began = (time.monotonic(), time.process_time())
        return await super().scan(table, **options)

    async def put(self, table: Table, item: Item, condition: Condition | None = None) -> float:
        """As `Database.put`."""
        units = await super().put(table, item, condition)
        if MARK in item:
            self._ended = (time.monotonic(), time.process_time())
        return units

    def rate(self, rows: int) -> Rate:
        """Of so many rows."""
        assert self._began is not None
        return Rate(rows, self._ended[0] - self._began[0], self._ended[1] - self._began[1])


async def throughput(backend: Backend, items: int, rounds: int) -> None:
    session = aioboto3.Session(
        aws_access_key_id=backend.access_key,
        aws_secret_access_key=backend.secret_key,
        region_name=backend.region,
    )
    # As the command line has them.
    config = Config(
        read_timeout=60,
        retries={"total_max_attempts": 1},
        max_pool_connections=128,
        tcp_keepalive=True,
    )
    options = {"endpoint_url": backend.endpoint_url, "config": config}
    async with (
        session.client("dynamodb", **options) as dynamodb,
        session.client("dynamodbstreams", **options) as streams,
        direct_calls(session, dynamodb, streams),
    ):
        stage = Stage(dynamodb, streams, list(legacy_items(items)))
        await stage.load()
        bare: list[Rate] = []
        copies: list[Rate] = []
        for number in range(rounds + 1):
            found = (await stage.bare(), await stage.copy())
            if number:  # the first one is to warm up
                bare.append(found[0])
                copies.append(found[1])
    show(
        "copy",
        {
            "items": items,
            "rows": copies[0].rows,
            "atOnce": SETTINGS.segments * SETTINGS.concurrency,
            "copiedItemsPerSecond": round(items / statistics.median(c.seconds for c in copies)),
            "copiedRowsPerSecond": [round(rate.per_second) for rate in copies],
            "bareRowsPerSecond": [round(rate.per_second) for rate in bare],
            "copiedCpuMicroseconds": round(statistics.median(r.cpu_microseconds for r in copies)),
            "bareCpuMicroseconds": round(statistics.median(r.cpu_microseconds for r in bare)),
            "ratio": round(
                statistics.median(r.per_second for r in copies)
                / statistics.median(r.per_second for r in bare),
                3,
            ),
        },
    )


def memory(counts: Sequence[int]) -> None:
    """Each in a process of its own, since memory that was once taken is not given back."""
    least: float | None = None
    for count in counts:
        output = subprocess.run(
            [sys.executable, "-m", "tests.bench.migration_copy", "--hold", str(count)],
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
        found = json.loads(output)
        least = least or found["megabytes"]
        show("memory", {**found, "ratio": round(found["megabytes"] / least, 3)})


def hold(count: int) -> None:
    """Copy so many items here, and say what that took."""
    held = copied(count)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report = {
        "items": held.rows,
        "megabytes": round(megabytes, 1),
        "itemsHeldAtMost": held.items,
        "writesAtOnce": held.writes,
        "controlRows": held.control_rows,
    }
    sys.stdout.write(json.dumps(report) + "\n")


def show(case: str, report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"case": case, **report}) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[20_000, 500_000])
    parser.add_argument("--hold", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold is not None:
        hold(options.hold)
        return
    with running_ministack() as backend:
        asyncio.run(throughput(backend, options.items, options.rounds))
    memory(options.memory)


if __name__ == "__main__":
    main()
