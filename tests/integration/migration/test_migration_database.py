"""The adapter means what the engine, and the simulator that proves it, take it to mean.

On MiniStack, which the local platform runs on, and on moto.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from deploy.migration._dynamodb import DynamoDBDatabase
from deploy.migration._items import MARK, Item, padded
from deploy.migration._ports import (
    AllOf,
    AnyOf,
    Condition,
    ConditionFailed,
    Equal,
    Less,
    Missing,
    Present,
)
from deploy.migration.mapping import Cell, Table
from libs.aws import marshal
from tests.backends import Backend

CONTROL = Table("Control", "pk", "sk")
_runs = count(1)


@pytest.fixture(params=["ministack", "moto"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[tuple[DynamoDBDatabase, Any]]:
    backend = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(backend, Backend)
    async with AsyncExitStack() as stack:
        dynamodb = await stack.enter_async_context(backend.client("dynamodb"))
        streams = await stack.enter_async_context(backend.client("dynamodbstreams"))
        yield DynamoDBDatabase(dynamodb, streams), dynamodb


async def create(dynamodb: Any, table: Table, *, stream: bool = True) -> None:
    keys = [("HASH", table.partition), *([("RANGE", table.sort)] if table.sort else [])]
    await dynamodb.create_table(
        TableName=table.name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for kind, name in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for _, n in keys],
        **(
            {
                "StreamSpecification": {
                    "StreamEnabled": True,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                }
            }
            if stream
            else {}
        ),
    )


CONDITIONS: list[tuple[Condition, bool]] = [
    (Missing(("pk",)), False),
    (Present(("m", "e")), True),
    (Missing(("m", "x")), True),
    (Less(("m", "e"), {"N": "10"}), True),
    (Less(("m", "e"), {"N": "9"}), False),
    (Less(("m", "x"), {"N": "9"}), False),
    (Less(("gone", "x"), {"N": "9"}), False),
    (Equal(("m", "x"), {"N": "9"}), False),
    (Equal(("m",), {"M": {"e": {"N": "9"}, "s": {"S": "05"}}}), True),
    (Equal(("m",), {"M": {"e": {"N": "9"}}}), False),
    (AllOf((Equal(("m", "e"), {"N": "9"}), Less(("m", "s"), {"S": "06"}))), True),
    (AllOf((Equal(("m", "e"), {"N": "9"}), Less(("m", "s"), {"S": "05"}))), False),
    (AnyOf((Missing(("pk",)), AllOf((Present(("pk",)), Missing(("gone",)))))), True),
]


async def test_conditions_mean_what_the_engine_takes_them_to_mean(
    database: tuple[DynamoDBDatabase, Any],
) -> None:
    sut, dynamodb = database
    table = replace(CONTROL, name=f"Conditions{next(_runs)}")
    await create(dynamodb, table, stream=False)
    item: Item = marshal({"pk": "a", "sk": "b", "m": {"e": 9, "s": "05"}})
    for condition, holds in CONDITIONS:
        await sut.put(table, item)
        if holds:
            await sut.put(table, item, condition)
            await sut.delete(table, Cell(table.name, "a", "b"), condition)
        else:
            with pytest.raises(ConditionFailed) as failed:
                await sut.put(table, item, condition)
            assert failed.value.item == item
            with pytest.raises(ConditionFailed):
                await sut.delete(table, Cell(table.name, "a", "b"), condition)


async def test_a_mark_goes_alone_and_only_if_it_is_the_one(
    database: tuple[DynamoDBDatabase, Any],
) -> None:
    sut, dynamodb = database
    table = replace(CONTROL, name=f"Marked{next(_runs)}")
    await create(dynamodb, table, stream=False)
    cell = Cell(table.name, "a", "b")
    mark = {"M": {"c": {"S": "x"}}}
    with pytest.raises(ConditionFailed) as failed:
        await sut.unmark(table, cell, mark)
    assert failed.value.item is None
    item: Item = marshal({"pk": "a", "sk": "b", "title": "t"})
    for present in (item, {**item, MARK: {"M": {"c": {"S": "y"}}}}):
        await sut.put(table, present)
        with pytest.raises(ConditionFailed) as failed:
            await sut.unmark(table, cell, mark)
        assert failed.value.item == present
    # The owner's own update since it was read stays.
    await sut.put(table, {**item, "title": {"S": "new"}, MARK: mark})
    assert await sut.unmark(table, cell, mark) > 0
    assert await sut.get(table, cell) == {**item, "title": {"S": "new"}}


async def test_a_stream_is_read_from_its_beginning_and_from_behind_a_record(
    database: tuple[DynamoDBDatabase, Any],
) -> None:
    sut, dynamodb = database
    table = replace(CONTROL, name=f"Streamed{next(_runs)}")
    await create(dynamodb, table)
    facts = await sut.describe(table)
    assert facts is not None
    assert (facts.stream, facts.key, facts.write_units) == (
        "NEW_AND_OLD_IMAGES",
        ["pk", "sk"],
        None,
    )
    one, two = (marshal({"pk": "a", "sk": "b", "v": value}) for value in (1, 2))
    await sut.put(table, one)
    await sut.put(table, two)
    await sut.delete(table, table.cell(one))
    page = await sut.shards(table, None)
    assert page.last is None
    (shard,) = page.shards
    batch = await sut.read_shard(await sut.open_shard(table, shard.id, None), 2)
    assert batch.next is not None
    rest = await sut.read_shard(batch.next, 10)
    records = [*batch.records, *rest.records]
    assert [(record.old, record.new) for record in records] == [
        (None, one),
        (one, two),
        (two, None),
    ]
    numbers = [padded(record.sequence) for record in records]
    assert numbers == sorted(numbers)
    behind = await sut.open_shard(table, shard.id, records[0].sequence)
    assert list((await sut.read_shard(behind, 10)).records) == records[1:]


async def test_tables_are_read_by_pages_and_by_keys(
    database: tuple[DynamoDBDatabase, Any],
) -> None:
    sut, dynamodb = database
    table = replace(CONTROL, name=f"Read{next(_runs)}")
    await create(dynamodb, table, stream=False)
    items = [marshal({"pk": "p", "sk": f"s#{n}"}) for n in range(5)]
    for item in items:
        await sut.put(table, item)
    await sut.put(table, marshal({"pk": "p", "sk": "other"}))
    found: list[Item] = []
    for segment in range(2):
        start: Item | None = None
        while True:
            page = await sut.scan(table, segment=segment, segments=2, start=start, limit=2)
            found += page.items
            start = page.next
            if start is None:
                break
    assert len(found) == 6
    assert list((await sut.query(table, "p", "s#", None)).items) == items
    assert len((await sut.query(table, "p", "", None)).items) == 6
    cells = [table.cell(item) for item in items]
    absent = Cell(table.name, "p", "absent")
    assert await sut.get(table, absent) is None
    assert await sut.get_many(table, [*cells, absent]) == dict(zip(cells, items, strict=True))
    assert await sut.get_together([(table, cells[0]), (table, absent)]) == [items[0], None]
