"""The life of a course on the real repository: in any order, and with two devices at once.

What must hold, and the model it is held against, are in tests/unit/progress_tracking/course_life.py;
there the same lives run in far greater number on the repository in memory.
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
from services.progress_tracking.domain.progress import CourseProgress, ProgressUpdate, same_record
from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.domain.tracking import BatchEntry, RecordedView
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.course_life import (
    COURSE,
    SECONDS,
    CourseLife,
    Epoch,
    Step,
    epochs,
    live_through,
    lives,
    tracking_on,
)
from tests.unit.progress_tracking.updates import (
    NOW,
    OUTLINE,
    completing,
    merged,
    minutes,
    progress_updates,
)

# Each example talks to an emulator some dozens of times.
bounded = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numbers = count()


@pytest.fixture(params=["ministack", "moto"])
async def observed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObservedDynamoDB]:
    backend = request.getfixturevalue(f"{request.param}_backend")
    async with dynamodb_on(backend, monkeypatch) as client:
        yield ObservedDynamoDB(client)


@pytest.fixture()
async def backend(request: pytest.FixtureRequest, observed: DynamoDB) -> Backend:
    found = request.getfixturevalue(f"{request.node.callspec.params['observed']}_backend")
    assert isinstance(found, Backend)
    return found


@bounded
@given(steps=lives)
async def test_any_life_of_a_course(
    observed: ObservedDynamoDB, backend: Backend, steps: list[Step]
) -> None:
    # A table for each life: its outline is the course's, whoever learns it.
    repository = DynamoDBProgressRepository(observed, table=await new_table(backend))
    life = CourseLife(repository, "user-1")
    for step in steps:
        await step(life)


@bounded
@given(spells=epochs, random=st.randoms(use_true_random=False), together=st.booleans())
async def test_the_order_of_updates_between_two_edits_does_not_matter(
    observed: ObservedDynamoDB,
    backend: Backend,
    spells: list[Epoch],
    random: Random,
    together: bool,
) -> None:
    def in_any_order(updates: list[ProgressUpdate]) -> list[ProgressUpdate]:
        shuffled = updates + updates[: len(updates) // 2 + 1]
        random.shuffle(shuffled)
        return shuffled

    found: list[CourseProgress | None] = []
    for arranged, batched in ((list, False), (in_any_order, together)):
        repository = DynamoDBProgressRepository(observed, table=await new_table(backend))
        found.append(await live_through(repository, "user-1", spells, arranged, together=batched))
    straight, mixed = found
    if straight is None or mixed is None:
        assert straight is mixed
    else:
        assert same_record(straight, mixed)


COURSES = ("crs-1", "crs-2", "crs-3")
entries = st.lists(st.tuples(st.sampled_from(COURSES), progress_updates), min_size=1, max_size=6)


@bounded
@given(phone=entries, laptop=entries, data=st.data())
async def test_the_batches_of_two_devices_at_once_converge(
    observed: ObservedDynamoDB,
    backend: Backend,
    phone: list[tuple[str, ProgressUpdate]],
    laptop: list[tuple[str, ProgressUpdate]],
    data: st.DataObject,
) -> None:
    repository = DynamoDBProgressRepository(observed, table=await new_table(backend))
    tracking = tracking_on(repository)
    await repository.learn_outline(OUTLINE)
    batches = [
        [BatchEntry(course, update) for course, update in data.draw(st.permutations(batch))]
        for batch in (phone, laptop)
    ]
    # Two queries of each course in either batch are answered before anything is written.
    courses = [{entry.course_id for entry in batch} for batch in batches]
    observed.hold_writes_until(2 * sum(map(len, courses)))
    answers = await asyncio.gather(
        *(tracking.record_batch("user-1", batch, seconds=SECONDS) for batch in batches)
    )
    for course in COURSES:
        updates = [update for name, update in phone + laptop if name == course]
        found = await repository.read("user-1", course)
        if not updates:
            assert found is None
            continue
        assert found is not None
        outline = OUTLINE if course == OUTLINE.course_id else None
        assert same_record(found, merged(updates, course_id=course, outline=outline))
        # One of the two batches began the course, and all its entries of the course say so.
        said = [
            {
                result.created
                for entry, result in zip(batch, answer, strict=True)
                if entry.course_id == course and isinstance(result, RecordedView)
            }
            for batch, answer in zip(batches, answers, strict=True)
        ]
        assert sorted(map(len, said)) in ([0, 1], [1, 1])
        assert [True in one for one in said].count(True) == 1


async def test_a_batch_broken_off_anywhere_is_completed_by_repeating_it(
    observed: ObservedDynamoDB, backend: Backend
) -> None:
    batch = [
        BatchEntry("crs-1", completing(1, "intro")),
        BatchEntry("crs-2", completing(2, "tides")),
        BatchEntry("crs-1", completing(3, "tides")),
    ]
    for failing in range(1, 5):
        repository = DynamoDBProgressRepository(observed, table=await new_table(backend))
        tracking = tracking_on(repository)
        observed.reset()
        observed.fail_write, observed.fail_after = failing, bool(failing % 2)
        results = await tracking.record_batch("user-1", batch, seconds=SECONDS)
        observed.fail_write = None
        failed = [
            entry
            for entry, result in zip(batch, results, strict=True)
            if isinstance(result, DependencyError)
        ]
        assert len(failed) == (failing <= 3), failing
        await tracking.record_batch("user-1", failed, seconds=SECONDS)
        for course in ("crs-1", "crs-2"):
            updates = [entry.update for entry in batch if entry.course_id == course]
            found = await repository.read("user-1", course)
            assert found is not None
            assert same_record(found, merged(updates, course_id=course, outline=None))


async def _complete_unseen(repository: ProgressRepository) -> None:
    await repository.record("user-1", COURSE, completing(5, "intro"), outline=OUTLINE, at=NOW)
    smaller = replace(OUTLINE, version=4, items=OUTLINE.items[:1])
    await repository.learn_outline(smaller)


@pytest.mark.parametrize(
    ("overtaking", "attempt", "completed_at"),
    [
        (completing(2, "intro"), 1, minutes(2)),
        (completing(8, "quiz"), 1, minutes(5)),
        (None, 2, None),
    ],
    ids=["completed earlier by another device", "something else recorded", "started anew"],
)
async def test_a_reader_that_is_overtaken_while_it_keeps_a_completion(
    observed: ObservedDynamoDB,
    backend: Backend,
    overtaking: ProgressUpdate | None,
    attempt: int,
    completed_at: object,
) -> None:
    table = await new_table(backend)
    slow = tracking_on(DynamoDBProgressRepository(observed, table=table))
    repository = DynamoDBProgressRepository(observed.inner, table=table)
    fast = tracking_on(repository)
    await _complete_unseen(repository)
    observed.hold_writes()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(slow.read("user-1", COURSE))
        await observed.write_held.wait()
        if overtaking is None:
            await fast.restart("user-1", COURSE, ending=None)
        else:
            await fast.record("user-1", COURSE, overtaking)
        observed.release_writes()
    shown = reading.result()
    assert shown is not None
    assert shown.course.summary.completed_at == (completed_at or minutes(5))
    assert shown.course.summary.attempt == 1
    kept = await repository.read("user-1", COURSE)
    assert kept is not None
    assert (kept.summary.attempt, kept.summary.completed_at) == (attempt, completed_at)


async def test_a_completion_is_kept_once(observed: ObservedDynamoDB, backend: Backend) -> None:
    repository = DynamoDBProgressRepository(observed, table=await new_table(backend))
    tracking = tracking_on(repository)
    await _complete_unseen(repository)
    observed.reset()
    first = await tracking.read("user-1", COURSE)
    assert len(observed.writes) == 1
    observed.reset()
    assert await tracking.read("user-1", COURSE) == first
    assert observed.writes == []


async def test_of_two_restarts_at_once_one_begins_an_attempt(
    observed: ObservedDynamoDB, backend: Backend
) -> None:
    repository = DynamoDBProgressRepository(observed, table=await new_table(backend))
    tracking = tracking_on(repository)
    await tracking.record("user-1", COURSE, completing(1, "intro"))
    # Each reads once to see what it ends and once more to end it.
    observed.hold_writes_until(8)
    views = await asyncio.gather(
        *(tracking.restart("user-1", COURSE, ending=ending) for ending in (None, 1))
    )
    assert [view and view.course.summary.attempt for view in views] == [2, 2]
