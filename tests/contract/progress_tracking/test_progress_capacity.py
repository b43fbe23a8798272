"""What recording costs in write units, and how many requests recording and reading take.

MiniStack is asked: it counts a write by the size of the whole item, as DynamoDB does, where moto
answers a flat number. Neither counts a Query by what it read, so of reads only the number of
requests is tested.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from services.progress_tracking.domain.progress import ItemUpdate, ProgressUpdate
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.updates import NOW, OUTLINE, completing, heartbeat, minutes


@pytest.fixture()
async def observed(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObservedDynamoDB]:
    async with dynamodb_on(ministack_backend, monkeypatch) as dynamodb:
        yield ObservedDynamoDB(dynamodb)


@pytest.fixture()
async def repository(
    ministack_backend: Backend, observed: ObservedDynamoDB
) -> DynamoDBProgressRepository:
    return DynamoDBProgressRepository(observed, table=await new_table(ministack_backend))


async def record(
    repository: DynamoDBProgressRepository, *updates: ProgressUpdate, course: str = "crs-1"
) -> None:
    for update in updates:
        await repository.record("user-1", course, update, outline=OUTLINE, at=NOW)


async def of_a_large_course(repository: DynamoDBProgressRepository, contents: int) -> None:
    """Every content completed, with a fraction and a position."""
    names = [f"content-{number:04}" for number in range(contents)]
    for start in range(0, contents, 100):
        items = tuple(
            ItemUpdate(name, minutes(1), completed=True, fraction=1.0, position_seconds=60.0)
            for name in names[start : start + 100]
        )
        await record(repository, ProgressUpdate(minutes(1), "phone", items=items))
    await record(repository, heartbeat(2, names[0], 1.0))


@pytest.mark.parametrize("contents", [1, 300])
async def test_a_heartbeat_is_one_write_of_one_unit_however_large_the_course(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository, contents: int
) -> None:
    await of_a_large_course(repository, contents)
    observed.reset()
    await record(repository, heartbeat(3, "content-0000", 2.0))
    assert [name for name, _ in observed.calls] == ["query", "query", "update_item"]
    assert observed.capacity[-1] == 1.0


async def test_the_longest_ids_do_not_make_a_heartbeat_dearer(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    longest = "x" * 64
    update = replace(heartbeat(1, longest, 604_799.999, device=longest), attempt=1)
    await record(repository, update, course=longest)
    observed.reset()
    later = replace(update, occurred_at=update.occurred_at + timedelta(milliseconds=1))
    await record(repository, later, course=longest)
    assert len(observed.writes) == 1
    assert observed.capacity[-1] == 1.0


async def test_the_first_update_of_a_course_is_two_writes(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    await record(repository, heartbeat(1, "intro", 1.0))
    assert len(observed.writes) == 2
    assert observed.capacity[-2:] == [1.0, 1.0]


async def test_a_contents_own_progress_is_two_writes_of_one_unit(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    await record(repository, heartbeat(1, "intro", 1.0))
    later = NOW + timedelta(seconds=1)
    item = ItemUpdate("intro", minutes(2), fraction=0.5, position_seconds=9.0)
    for update in (
        ProgressUpdate(minutes(2), "phone", items=(item,)),
        replace(heartbeat(3, "intro", 10.0), items=(replace(item, fraction=0.6),)),
    ):
        observed.reset()
        await repository.record("user-1", "crs-1", update, outline=OUTLINE, at=later)
        assert len(observed.writes) == 2
        assert observed.capacity[-2:] == [1.0, 1.0]


async def test_a_repeated_or_stale_update_writes_nothing(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    item = ItemUpdate("intro", minutes(5), completed=True, fraction=0.5, position_seconds=9.0)
    update = replace(heartbeat(5, "intro", 9.0), items=(item,))
    await record(repository, update, completing(6, "tides"))
    observed.reset()
    stale = replace(
        heartbeat(4, "tides", 99.0),
        # startedAt would sink, were it earlier than what is known.
        occurred_at=minutes(5),
        device_id="laptop",
        items=(replace(item, occurred_at=minutes(5), fraction=0.4, completed=False),),
    )
    await record(repository, update, stale, completing(7, "intro"))
    assert observed.writes == []


async def test_a_completion_costs_the_course_row_and_not_its_contents(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    await of_a_large_course(repository, 300)
    observed.reset()
    await record(repository, completing(3, "content-9999"))
    assert len(observed.writes) == 1
    # 301 members of 26 bytes.
    assert observed.capacity[-1] == 8.0


async def test_a_page_of_the_list_is_one_query(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    for number in range(12):
        update = replace(heartbeat(2, "intro", 1.0), items=completing(1, "intro").items)
        await record(repository, update, course=f"crs-{number:02}")
    observed.reset()
    page = await repository.list_summaries("user-1", after=None, limit=5)
    assert [name for name, _ in observed.calls] == ["query"]
    assert len(page.summaries) == 5


async def test_a_course_is_read_by_two_queries(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    await of_a_large_course(repository, 100)
    observed.reset()
    await repository.read("user-1", "crs-1")
    assert [name for name, _ in observed.calls] == ["query", "query"]
    assert all(params["ConsistentRead"] for _, params in observed.calls)


async def test_learning_an_outline_is_one_write(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    await repository.learn_outline(OUTLINE)
    assert len(observed.writes) == 1
    assert observed.capacity == [1.0]
