"""The real repository ends where the pure merge ends, whatever order, repetition and concurrency.

This is the proof asked of the split of one course into several rows (docs/adr/0030).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.aws import DependencyError, DynamoDB
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import ProgressUpdate, same_record
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.updates import NOW, OUTLINE, merged, progress_updates

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
@given(updates=updates_of_a_course, outline=outlines, random=st.randoms(use_true_random=False))
async def test_concurrent_updates_converge(
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
    answers = await asyncio.gather(
        *(
            repository.record(user_id, "crs-1", update, outline=outline, at=NOW)
            for update in shuffled
        )
    )
    assert [answer.created for answer in answers].count(True) == 1
    await assert_converged(repository, user_id, updates, outline)


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
