"""What each access pattern costs, as the backend reports it with ReturnConsumedCapacity.

On MiniStack: it accounts for tables and indexes by size, but for a GetItem (always one unit), so
what that costs is computed from the item's size by DynamoDB's rule. moto does not account for
transactions and knows a global index as a local one.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from libs.aws import DynamoDB
from libs.idempotency import (
    Answer,
    DynamoDBIdempotencyStore,
    Idempotency,
    KeyedRequest,
    Reservation,
)
from services.course_catalog.api.schemas import render_course
from services.course_catalog.domain.course import ItemType, OutlineItem, Section, Status
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.course_catalog.storage.items import SHARDS, course_item, item_size
from tests.backends import Backend
from tests.contract.course_catalog.conftest import dynamodb_table
from tests.unit.course_catalog.courses import content, draft, instant, published


class MeteredDynamoDB:
    """DynamoDB whose calls ask for and add up what they consume."""

    def __init__(self, dynamodb: DynamoDB) -> None:
        self._dynamodb = dynamodb
        self._consumed: list[float] = []

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._dynamodb, name)

        async def metered(**params: Any) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = await function(**params, ReturnConsumedCapacity="INDEXES")
            reported = answer["ConsumedCapacity"]
            tables = reported if isinstance(reported, list) else [reported]
            self._consumed += [table["CapacityUnits"] for table in tables]
            return answer

        return metered

    def consumed(self) -> float:
        """The units since this was asked last."""
        units, self._consumed = sum(self._consumed), []
        return units


@pytest.fixture()
async def meter(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DynamoDBCourseRepository, MeteredDynamoDB]]:
    async with dynamodb_table(ministack_backend, monkeypatch) as (dynamodb, table):
        metered = MeteredDynamoDB(dynamodb)
        yield DynamoDBCourseRepository(cast(DynamoDB, metered), table), metered


async def test_writes_of_a_small_course(
    meter: tuple[DynamoDBCourseRepository, MeteredDynamoDB],
) -> None:
    """Every item here has less than 1 KB; a transaction doubles the table's part."""
    repository, metered = meter
    course = draft(1)
    assert item_size(course_item(course)) < 1024
    await repository.create(course)
    assert metered.consumed() == 2 + 2 + 1 + 1  # course, slug, an entry in each index
    open_ = course.published(now=instant(1))
    await repository.replace(open_, previous=course)
    # Course and outline in a transaction, and both entries move.
    assert metered.consumed() == 2 + 2 + 2 + 2
    edited = open_.edited(content(1, title="New"), now=instant(2))
    await repository.replace(edited, previous=open_)
    assert metered.consumed() == 1 + 1 + 2  # byStatus: in place; byChange: moves
    renamed = edited.edited(content(1, slug="new"), now=instant(3))
    await repository.replace(renamed, previous=edited)
    assert metered.consumed() == 2 + 2 + 2 + 1 + 2  # course, two slugs, the indexes


async def test_a_refresh_without_news_costs_half_a_unit_a_shard(
    meter: tuple[DynamoDBCourseRepository, MeteredDynamoDB],
) -> None:
    repository, metered = meter
    await repository.create(published(1))
    metered.consumed()
    assert [batch async for batch in repository.changes(instant(1000)) if batch] == []
    assert metered.consumed() == SHARDS * 0.5


async def test_a_load_costs_half_a_unit_for_4_kb_of_summaries(
    meter: tuple[DynamoDBCourseRepository, MeteredDynamoDB],
) -> None:
    """Descriptions and outlines are not in the index, so they cost nothing here."""
    repository, metered = meter
    for number in range(64):
        await repository.create(published(number, description="x" * 20_000))
    metered.consumed()
    found = [summary async for batch in repository.listing(Status.PUBLISHED) for summary in batch]
    assert len(found) == 64
    # Eight summaries of about 500 bytes a shard, more or less: one or two steps of 4 KB each.
    assert SHARDS * 0.5 <= metered.consumed() <= SHARDS * 1.0


async def test_a_key_costs_a_claim_and_its_answer(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes of a unit for a small course, whose answer is kept compressed; one for a replay,
    since a condition that fails is paid for as well."""
    async with dynamodb_table(ministack_backend, monkeypatch) as (dynamodb, table):
        metered = MeteredDynamoDB(dynamodb)
        store = DynamoDBIdempotencyStore(
            cast(DynamoDB, metered), table, key_attributes=["courseId"], ttl_attribute="expiresAt"
        )
        idempotency = Idempotency(store, now=lambda: instant(0))

        async def create(_: Reservation) -> Answer:
            return Answer(201, {"Location": "/courses/x"}, render_course(draft(1)))

        async def send() -> float:
            await idempotency.once(
                KeyedRequest("k", "author-a", "createCourse", "f" * 64),
                new_id=lambda: "x",
                create=create,
                is_refusal=lambda _: False,
            )
            return metered.consumed()

        assert await send() == 1 + 1
        assert await send() == 0  # the emulator reports none for a failed condition; AWS bills one


def test_opening_a_course_costs_a_unit_for_4_kb() -> None:
    """A strongly consistent read, for a course with an outline of sixty items."""
    items = tuple(
        OutlineItem(f"item-{n:04}", f"A lesson with a title of its own, {n}", ItemType.VIDEO, 600)
        for n in range(60)
    )
    course = draft(1, description="x" * 3000, outline=(Section("s", "Section", items),))
    size = item_size(course_item(course))
    assert 9_000 < size < 12_000
    assert math.ceil(size / 4096) == 3
