"""What lies in the table, and that pages of the table never split what belongs together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from libs.aws import DynamoDB, marshal, unmarshal
from services.progress_tracking.domain.progress import (
    MAX_CONTENTS_PER_COURSE,
    CourseSummary,
    ItemUpdate,
    ProgressUpdate,
)
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.updates import NOW, OUTLINE, completing, heartbeat, minutes


@pytest.fixture(params=["ministack", "moto"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(found, Backend)
    return found


@pytest.fixture()
async def dynamodb(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObservedDynamoDB]:
    async with dynamodb_on(backend, monkeypatch) as client:
        yield ObservedDynamoDB(client)


@pytest.fixture()
async def table(backend: Backend) -> str:
    return await new_table(backend)


async def rows_of(dynamodb: DynamoDB, table: str, partition: str) -> list[dict[str, object]]:
    answer = await dynamodb.query(
        TableName=table,
        KeyConditionExpression="userId = :userId",
        ExpressionAttributeValues=marshal({":userId": partition}),
    )
    return [unmarshal(item) for item in answer["Items"]]


async def test_the_rows_are_what_their_documentation_says(
    dynamodb: ObservedDynamoDB, table: str
) -> None:
    repository = DynamoDBProgressRepository(dynamodb, table=table)
    item = ItemUpdate("intro", minutes(0), completed=True, fraction=0.5, position_seconds=9.0)
    update = replace(heartbeat(1, "tides", 41.5), items=(item,))
    await repository.record("user-1", "crs-1", update, outline=OUTLINE, at=NOW)
    await repository.learn_outline(replace(OUTLINE, items=OUTLINE.items[:1]))
    assert await rows_of(dynamodb, table, "user-1") == [
        {
            "userId": "user-1",
            "sk": "H#crs-1#c",
            "attempt": 1,
            "startedAt": "2026-02-01T09:00:00.000Z",
            "completed": {"intro#1769936400000"},
            "updatedAt": "2026-03-01T12:00:00.000Z",
        },
        {
            "userId": "user-1",
            "sk": "H#crs-1#r",
            "attempt": 1,
            "occurredAt": "2026-02-01T09:01:00.000Z",
            "deviceId": "phone",
            "contentId": "tides",
            "positionSeconds": 41.5,
            "updatedAt": "2026-03-01T12:00:00.000Z",
        },
        {
            "userId": "user-1",
            "sk": "P#crs-1#intro",
            "attempt": 1,
            "fraction": 0.5,
            "occurredAt": "2026-02-01T09:00:00.000Z",
            "deviceId": "phone",
            "positionSeconds": 9,
            "updatedAt": "2026-03-01T12:00:00.000Z",
        },
    ]
    assert await rows_of(dynamodb, table, "~outline#crs-1") == [
        {
            "userId": "~outline#crs-1",
            "sk": "OUTLINE",
            "outlineVersion": 3,
            "items": [{"contentId": "intro", "required": True, "weight": 1}],
        }
    ]


async def test_an_earlier_completion_takes_the_place_of_a_later_one(
    dynamodb: ObservedDynamoDB, table: str
) -> None:
    repository = DynamoDBProgressRepository(dynamodb, table=table)
    for minute in (0, -1, 5, -2):
        update = completing(minute, "intro")
        await repository.record("user-1", "crs-1", update, outline=None, at=NOW)
    (row,) = await rows_of(dynamodb, table, "user-1")
    assert row["completed"] == {"intro#1769936280000"}


async def test_pages_that_the_table_cuts_at_a_megabyte_split_no_course(
    dynamodb: ObservedDynamoDB, table: str
) -> None:
    repository = DynamoDBProgressRepository(dynamodb, table=table)
    names = [f"{number:0>64}" for number in range(MAX_CONTENTS_PER_COURSE)]
    courses = [f"crs-{number}" for number in range(7)]
    for course in courses:
        update = replace(heartbeat(2, "x", 1.0), items=completing(1, *names).items)
        await repository.record("user-1", course, update, outline=None, at=NOW)
    seen: list[CourseSummary] = []
    pages, after, more = 0, None, True
    while more:
        page = await repository.list_summaries("user-1", after=after, limit=100)
        seen += page.summaries
        pages, after, more = pages + 1, page.summaries[-1].course_id, page.more
    assert [summary.course_id for summary in seen] == courses
    assert all(summary.resume is not None for summary in seen)
    assert all(len(summary.completions) == MAX_CONTENTS_PER_COURSE for summary in seen)
    assert pages > 1


@pytest.mark.parametrize("rows", [2, 3, 4, 5, 9])
async def test_a_page_may_end_at_any_row(dynamodb: ObservedDynamoDB, table: str, rows: int) -> None:
    repository = DynamoDBProgressRepository(dynamodb, table=table)
    for number in range(4):
        update: ProgressUpdate = heartbeat(2, "x", 1.0) if number % 2 else completing(2, "x")
        await repository.record("user-1", f"crs-{number}", update, outline=None, at=NOW)
    dynamodb.rows_per_query = rows
    seen: list[CourseSummary] = []
    after, more = None, True
    while more:
        page = await repository.list_summaries("user-1", after=after, limit=3)
        more = page.more
        # Where the table ended a page at its very last row, the page after it is empty.
        assert page.summaries or not more
        seen += page.summaries
        after = seen[-1].course_id
    assert [(summary.course_id, summary.resume is not None) for summary in seen] == [
        ("crs-0", False),
        ("crs-1", True),
        ("crs-2", False),
        ("crs-3", True),
    ]


async def test_a_course_that_takes_several_queries_is_read_whole(
    dynamodb: ObservedDynamoDB, table: str
) -> None:
    repository = DynamoDBProgressRepository(dynamodb, table=table)
    items = tuple(ItemUpdate(f"c{number}", minutes(1), fraction=0.5) for number in range(7))
    update = replace(heartbeat(2, "c1", 1.0), items=items)
    recorded = await repository.record("user-1", "crs-1", update, outline=None, at=NOW)
    dynamodb.rows_per_query = 3
    assert await repository.read("user-1", "crs-1") == recorded.progress
