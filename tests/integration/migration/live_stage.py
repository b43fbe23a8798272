"""Tables to be split, with what was there before, who operates the split and who uses them; and the
judgement of what came of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from deploy.migration._context import Context, Settings
from deploy.migration._dynamodb import DynamoDBDatabase
from deploy.migration._items import Item, canonical, live
from deploy.migration._sweep import pages
from deploy.migration.commands import Migration
from deploy.migration.gate import Gate
from deploy.migration.mapping import Cell, SplitMapping, Table
from deploy.migration.mappings.lyceum import mapping
from tests.backends import Backend
from tests.integration.migration.history import last_values, verdict, violations
from tests.integration.migration.live_application import (
    LONGEST_PAUSE,
    MODULES,
    Application,
    rows_of,
)

WRITERS = 3
READERS = 2
_runs = count(1)


@dataclass
class Stage:
    """The tables of one migration, who operates it and who uses it."""

    split: SplitMapping
    control: Table
    context: Callable[[str], Context]
    operator: Context
    migration: Migration
    application: Application


@asynccontextmanager
async def staged(
    backend: Backend,
    seed: int,
    settings: Settings,
    *,
    keys: int,
    longest_pause: float = LONGEST_PAUSE,
    of_application: Backend | None = None,
) -> AsyncIterator[Stage]:
    """Tables with what was there before, an operator and an application, which may reach them by a
    way of its own (`of_application`). Whoever uses it pauses for up to so many seconds between two
    requests."""
    run = f"OfStage{next(_runs)}"
    split = mapping(
        source=f"Lyceum{run}", course_catalog=f"CourseCatalog{run}",
        content_delivery=f"Content{run}", progress_tracking=f"Progress{run}",
    )  # fmt: skip
    control = Table(f"Control{run}", "pk", "sk")
    async with (
        backend.client("dynamodb") as dynamodb,
        backend.client("dynamodbstreams") as streams,
        (of_application or backend).client("dynamodb") as of_the_application,
    ):
        await _create(dynamodb, control, stream=False)
        # The stream begins after what was there before: it is in no record.
        await _create(dynamodb, split.source, stream=False)
        for target in split.targets:
            await _create(dynamodb, target.table, stream=True)

        def context(name: str) -> Context:
            return Context(
                name, split, DynamoDBDatabase(dynamodb, streams), control, time.monotonic,
                time.time, asyncio.sleep, random.Random(f"{seed} {name}"), settings,
            )  # fmt: skip

        gate = Gate(context("application"))
        application = Application(gate, of_the_application, split, keys, longest_pause)
        await application.seed(random.Random(f"{seed} before"))
        await dynamodb.update_table(
            TableName=split.source.name,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        operator = context("operator")
        yield Stage(split, control, context, operator, Migration(operator), application)


async def _create(dynamodb: Any, table: Table, *, stream: bool) -> None:
    keys = [("HASH", table.partition), *([("RANGE", table.sort)] if table.sort else [])]
    streams = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    await dynamodb.create_table(
        TableName=table.name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for kind, name in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for _, n in keys],
        **({"StreamSpecification": streams} if stream else {}),
    )


@asynccontextmanager
async def used(application: Application, seed: int) -> AsyncIterator[None]:
    """Writers and readers go on until the block ends."""
    async with asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            chance = random.Random(f"{seed} writer {number}")
            group.create_task(application.write_on(chance, number, WRITERS))
        for number in range(READERS):
            group.create_task(application.read_on(random.Random(f"{seed} reader {number}")))
        try:
            yield
        finally:
            application.stopped = True


async def rows_in(context: Context, table: Table) -> dict[Cell, Item]:
    found: dict[Cell, Item] = {}
    async for page in pages(context, table):
        found |= {table.cell(item): row for item in page if (row := live(item)) is not None}
    return found


async def judge(stage: Stage) -> list[str]:
    """Everything that was seen, and what stands in the end, at the owner's and at the follower's."""
    application, split = stage.application, stage.split
    wrong = violations(application.initial, application.writes, application.reads)
    last = last_values(application.initial, application.writes)
    targets = {
        module: await rows_in(stage.operator, split.target(module).table) for module in MODULES
    }
    source: dict[Cell, Item] = {}
    for item in (await rows_in(stage.operator, split.source)).values():
        source.update(split.rows(item))
    view = await stage.migration.control.view()
    assert view is not None
    for key in application.all_keys():
        module = view.modules[key[0]]
        stores = {"target": targets[key[0]]}
        if module.phase != "COMPLETED":
            stores["source"] = source
        for where, rows in stores.items():
            possible = [rows_of(split, key, value) for value in last[key]]
            cells = set(rows_of(split, key, "any"))
            present = {cell: canonical(rows[cell]) for cell in cells & rows.keys()}
            if present not in [
                {cell: canonical(row) for cell, row in each.items()} for each in possible
            ]:
                titles = [
                    str(row["title"]["S"])
                    for cell in cells & rows.keys()
                    if "title" in (row := rows[cell])
                ]
                word = verdict(titles[0] if titles else None, last[key])
                wrong.append(
                    f"{word} {where} {key}: {titles}, may be {sorted(map(str, last[key]))}"
                )
    wrong += [
        f"QUARANTINE {row.key}: {row.values['why']}"
        for row in await stage.migration.control.rows("quarantine#")
    ]
    return wrong
