"""Fills the monolith's table: `python -m tests.monolith.seed` with `--help`.

The sample courses are among it, loaded through the monolith's own repositories; the rest is
`population.py`'s. Loading that was broken off may be repeated: a row of the control table tells when
it is done, and then nothing is touched any more. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from deploy.local._samples import Sample, read_samples
from deploy.local._seed import BucketWriter, Seeder
from libs.aws import AwsSettings, Clients, DynamoDB, marshal, open_clients, unmarshal
from libs.circuit_breaker import BreakerPolicy
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
from tests.monolith.catalog import LegacyCourses
from tests.monolith.content import LegacyContents
from tests.monolith.dynamodb_table import DynamoDBTable
from tests.monolith.population import StoredObject, population
from tests.monolith.table import Item

_BATCH: Final = 25  # BatchWriteItem's limit
_AT_ONCE: Final = 4
_ROUNDS: Final = 8
_SEEDED: Final = {"pk": "~seed", "sk": "~seed"}


@dataclass(frozen=True)
class Options:
    """Where to, and how much."""

    region: str
    table: str
    control_table: str
    bucket: str
    items: int
    learners: Sequence[str]


async def seed(options: Options) -> dict[str, int]:
    """Load what is missing; how many items were loaded."""
    async with _clients(options.region) as clients:
        dynamodb = clients.dynamodb
        found = await dynamodb.get_item(
            TableName=options.control_table, Key=marshal(_SEEDED), ConsistentRead=True
        )
        if "Item" in found:
            return {"items": int(unmarshal(found["Item"])["items"]), "added": 0}
        samples = read_samples()
        table = DynamoDBTable(dynamodb, options.table)
        contents = LegacyContents(table)
        seeder = Seeder(LegacyCourses(table), contents, BucketWriter(clients.s3, options.bucket))
        loaded = await seeder.load(samples)
        # A course has its slug in an item of its own.
        sampled = 2 * loaded.courses + loaded.content
        objects = [stored async for stored in _objects(samples, contents)]
        items = population(max(100, options.items - sampled), objects, learners=options.learners)
        added = sampled + await _write(dynamodb, options.table, items)
        await dynamodb.put_item(
            TableName=options.control_table, Item=marshal({**_SEEDED, "items": added})
        )
        return {"items": added, "added": added}


async def _objects(
    samples: Iterable[Sample], contents: LegacyContents
) -> AsyncIterator[StoredObject]:
    """The samples' objects, which all other content points at too."""
    for sample in samples:
        for entry in sample.content:
            content = await contents.get(entry.id)
            if content is not None and content.etag is not None:
                yield StoredObject(
                    content.object_key, content.content_type, content.size_bytes, content.etag
                )


async def _write(dynamodb: DynamoDB, table: str, items: Iterator[Item]) -> int:
    written = 0

    async def write() -> None:
        nonlocal written
        while batch := list(islice(items, _BATCH)):
            waiting = [{"PutRequest": {"Item": item}} for item in batch]
            for _ in range(_ROUNDS):
                answer = await dynamodb.batch_write_item(
                    RequestItems={table: waiting}, repeatable=True
                )
                waiting = answer.get("UnprocessedItems", {}).get(table, [])
                if not waiting:
                    break
            else:
                raise RuntimeError("the table takes no more items")
            written += len(batch)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(write())
    return written


@asynccontextmanager
async def _clients(region: str) -> AsyncIterator[Clients]:
    settings = AwsSettings(
        region,
        read_timeout_seconds=60,
        breaker=BreakerPolicy(call_timeout_seconds=60),
    )
    tracer = create_tracer(
        service="seed", version="local", daemon_address=None, rules=SamplingRules(default_rate=0)
    )
    async with open_clients(
        settings, registry=PipelineRegistry(), tracer=tracer, services=("dynamodb", "s3")
    ) as clients:
        yield clients


def main(arguments: list[str] | None = None) -> int:
    """Loads, and prints a JSON line of what is there."""
    parser = argparse.ArgumentParser(prog="seed", description="Fills the monolith's table.")
    for name in ("region", "table", "control-table", "bucket"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--learner", action="append", default=[], help="has progress too")
    given = parser.parse_args(arguments)
    options = Options(
        given.region, given.table, given.control_table, given.bucket, given.items, given.learner
    )
    sys.stdout.write(json.dumps(asyncio.run(seed(options))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
