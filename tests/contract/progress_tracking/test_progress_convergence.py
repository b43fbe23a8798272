"""The real repository ends where the pure merge ends, whatever order, repetition and concurrency.

This is the proof asked of the split of one course into several rows (docs/adr/0030).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.aws import DependencyError, DynamoDB
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import ItemUpdate, ProgressUpdate, same_record
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.updates import (
    NOW,
    OUTLINE,
    completing,
    heartbeat,
    merged,
    minutes,
    progress_updates,
)

# Each example talks to an emulator some dozens of times; the pure property runs many more.
bounded = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
users = (f"user-{number}" for number in count())
outlines = st.sampled_from([None, OUTLINE])
updates_of_a_course = st.lists(progress_updates, min_size=1, max_size=7)


@pytest.fixture(params=["ministack", "moto"])
async def dynamodb(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DynamoDB]:
    backend = request.getfixturevalue(f"{request.param}_backend")
    async with dynamodb_on(backend, monkeypatch) as client:
        yield client


@pytest.fixture()
async def table(request: pytest.FixtureRequest, dynamodb: DynamoDB) -> str:
    backend = request.getfixturevalue(f"{request.node.callspec.params['dynamodb']}_backend")
    assert isinstance(backend, Backend)
    return await new_table(backend)


async def assert_converged(
    repository: DynamoDBProgressRepository,
    user_id: str,
    updates: list[ProgressUpdate],
    outline: Outline | None,
) -> None:
    expected = merged(updates, course_id="crs-1", outline=outline)
    found = await repository.read(user_id, "crs-1")
    assert found is not None
    assert same_record(found, expected)
    page = await repository.list_summaries(user_id, after=None, limit=1)
    assert page.summaries == (found.summary,)


@bounded
@given(updates=updates_of_a_course, outline=outlines, random=st.randoms(use_true_random=False))
async def test_shuffled_and_repeated_updates_converge(
    dynamodb: DynamoDB,
    table: str,
    updates: list[ProgressUpdate],
    outline: Outline | None,
    random: Random,
) -> None:
    repository = DynamoDBProgressRepository(dynamodb, table=table)
    user_id = next(users)
    shuffled = updates + updates[: len(updates) // 2 + 1]
    random.shuffle(shuffled)
    for update in shuffled:
        await repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
    await assert_converged(repository, user_id, updates, outline)


@bounded
@given(
    earlier=st.lists(progress_updates, max_size=3),
    updates=updates_of_a_course,
    outline=outlines,
    random=st.randoms(use_true_random=False),
)
async def test_concurrent_updates_converge(
    dynamodb: DynamoDB,
    table: str,
    earlier: list[ProgressUpdate],
    updates: list[ProgressUpdate],
    outline: Outline | None,
    random: Random,
) -> None:
    observed = ObservedDynamoDB(dynamodb)
    repository = DynamoDBProgressRepository(observed, table=table)
    user_id = next(users)
    for update in earlier:
        await repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
    shuffled = updates + updates[: len(updates) // 2 + 1]
    random.shuffle(shuffled)
    # Each update has read the course before any other has written to it.
    observed.hold_writes_until(2 * len(shuffled))
    answers = await asyncio.gather(
        *(
            repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
            for update in shuffled
        )
    )
    assert [answer.created for answer in answers].count(True) == (0 if earlier else 1)
    await assert_converged(repository, user_id, earlier + updates, outline)


def _content(fraction: float | None, position: float | None, minute: float) -> ProgressUpdate:
    item = ItemUpdate("quiz", minutes(minute), fraction=fraction, position_seconds=position)
    return ProgressUpdate(minutes(minute), "phone", items=(item,))


@pytest.mark.parametrize(
    ("earlier", "held", "overtaking"),
    [
        ([], heartbeat(2, "intro", 2.0), heartbeat(3, "tides", 3.0)),
        ([], completing(2, "intro"), completing(1, "intro")),
        ([heartbeat(1, "intro", 1.0)], heartbeat(2, "intro", 2.0), heartbeat(3, "tides", 3.0)),
        ([heartbeat(1, "intro", 1.0)], heartbeat(2, "intro", 2.0), heartbeat(2, "intro", 3.0)),
        ([heartbeat(9, "intro", 1.0)], heartbeat(3, "intro", 2.0), heartbeat(2, "intro", 3.0)),
        ([_content(0.1, 1.0, 1)], _content(0.2, None, 1), _content(0.3, None, 1)),
        ([_content(0.1, 1.0, 1)], _content(None, 2.0, 2), _content(None, 3.0, 3)),
        ([_content(0.1, 1.0, 1)], _content(0.9, 2.0, 2), _content(0.3, 3.0, 3)),
        ([_content(0.1, 1.0, 1)], _content(0.2, 9.0, 9), _content(0.3, 3.0, 3)),
        ([_content(0.1, None, 1)], _content(0.2, 2.0, 2), _content(None, 3.0, 3)),
        ([completing(1, "quiz")], completing(5, "intro"), completing(2, "tides")),
        ([completing(1, "quiz")], completing(5, "intro", "tides"), completing(2, "tides", "intro")),
        ([completing(1, "intro", "tides")], completing(-2, "intro"), completing(-3, "tides")),
    ],
)
async def test_a_writer_that_was_overtaken_after_reading_loses_nothing(
    dynamodb: DynamoDB,
    table: str,
    earlier: list[ProgressUpdate],
    held: ProgressUpdate,
    overtaking: ProgressUpdate,
) -> None:
    observed = ObservedDynamoDB(dynamodb)
    slow = DynamoDBProgressRepository(observed, table=table)
    fast = DynamoDBProgressRepository(dynamodb, table=table)
    user_id = next(users)
    for update in earlier:
        await fast.record(user_id, "crs-1", update, outline=OUTLINE, at=NOW)
    observed.hold_writes()
    async with asyncio.TaskGroup() as group:
        group.create_task(slow.record(user_id, "crs-1", held, outline=OUTLINE, at=NOW))
        await observed.write_held.wait()
        await fast.record(user_id, "crs-1", overtaking, outline=OUTLINE, at=NOW)
        observed.release_writes()
    await assert_converged(fast, user_id, [*earlier, held, overtaking], OUTLINE)


async def test_a_writer_whose_attempt_ends_meanwhile_changes_nothing(
    dynamodb: DynamoDB, table: str
) -> None:
    observed = ObservedDynamoDB(dynamodb)
    slow = DynamoDBProgressRepository(observed, table=table)
    fast = DynamoDBProgressRepository(dynamodb, table=table)
    late = replace(_content(0.9, 9.0, 9), resume_content_id="quiz", resume_position_seconds=9.0)
    for kind in (late, replace(late, items=()), completing(9, "intro")):
        user_id = next(users)
        await fast.record(user_id, "crs-1", _content(0.1, 1.0, 1), outline=OUTLINE, at=NOW)
        observed.hold_writes()
        observed.write_held.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(slow.record(user_id, "crs-1", kind, outline=OUTLINE, at=NOW))
            await observed.write_held.wait()
            await fast.start_attempt(user_id, "crs-1", following=1, at=NOW)
            new = heartbeat(2, "intro", 2.0)
            expected = await fast.record(user_id, "crs-1", new, outline=OUTLINE, at=NOW)
            observed.release_writes()
        assert await fast.read(user_id, "crs-1") == expected.progress


@bounded
@given(
    updates=updates_of_a_course,
    outline=outlines,
    failing=st.integers(1, 6),
    after=st.booleans(),
)
async def test_an_update_broken_off_anywhere_is_completed_by_repeating_it(
    dynamodb: DynamoDB,
    table: str,
    updates: list[ProgressUpdate],
    outline: Outline | None,
    failing: int,
    after: bool,
) -> None:
    observed = ObservedDynamoDB(dynamodb)
    repository = DynamoDBProgressRepository(observed, table=table)
    user_id = next(users)
    for update in updates:
        observed.reset()
        observed.fail_write, observed.fail_after = failing, after
        try:
            await repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
        except DependencyError:
            observed.fail_write = None
            await repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
    observed.fail_write = None
    await assert_converged(repository, user_id, updates, outline)
    # What was completed after a failure is complete: nothing is owed any more.
    observed.reset()
    for update in updates:
        await repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
    assert observed.writes == []
