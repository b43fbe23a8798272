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

from services.progress_tracking.domain.outlines import KnownOutlines
from services.progress_tracking.domain.progress import ItemUpdate, ProgressUpdate
from services.progress_tracking.domain.tracking import BatchEntry, CourseFilter, ProgressTracking
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.course_life import tracking_on
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


async def test_a_page_of_fifty_courses_is_one_query_and_one_read_of_their_outlines(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    names = [f"crs-{number:02}" for number in range(51)]
    for name in names:
        update = replace(heartbeat(2, "intro", 1.0), items=completing(1, "intro").items)
        await record(repository, update, course=name)
        await repository.learn_outline(replace(OUTLINE, course_id=name))
    outlines = KnownOutlines(
        repository, maximum_age_seconds=30, maximum_entries=100, monotonic=lambda: 0.0
    )
    tracking = ProgressTracking(repository=repository, outlines=outlines, clock=lambda: NOW)
    for calls in (["query", "batch_get_item"], ["query"]):  # outlines are at hand the second time
        observed.reset()
        page = await tracking.list("user-1", chosen=CourseFilter(), after=None, limit=50)
        assert [name for name, _ in observed.calls] == calls
        assert [view.summary.course_id for view in page.courses] == names[:50]
        assert {view.standing.percent for view in page.courses} == {33}
        assert page.next_after == names[49]


async def test_a_batch_of_heartbeats_is_one_unit_for_each_course(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    names = [f"crs-{number:02}" for number in range(25)]
    for name in names:
        await record(repository, heartbeat(1, "intro", 1.0), course=name)
    tracking = tracking_on(repository)
    batch = [BatchEntry(name, heartbeat(2, "intro", 2.0)) for name in names]
    observed.reset()
    await tracking.record_batch("user-1", batch, seconds=60)
    assert len(observed.writes) == 25
    # Units of the writes alone: those of reads follow the size of what was read.
    assert observed.written_capacity == [1.0] * 25
    # One read of all outlines, two queries of each course.
    assert len(observed.calls) == 25 + 1 + 50
    observed.reset()
    await tracking.record_batch("user-1", batch, seconds=60)
    assert observed.writes == []


async def test_a_new_attempt_is_one_write(
    observed: ObservedDynamoDB, repository: DynamoDBProgressRepository
) -> None:
    await of_a_large_course(repository, 100)
    tracking = tracking_on(repository)
    for ending, writes in ((None, 1), (1, 0), (None, 0)):
        observed.reset()
        await tracking.restart("user-1", "crs-1", ending=ending)
        assert len(observed.writes) == writes


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
