"""Whatever authors, devices and learners do, in whatever order: what progress promises holds."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.progress_tracking.domain.outline import Outline, OutlineItem
from services.progress_tracking.domain.progress import ProgressUpdate, same_record
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.unit.progress_tracking.course_life import (
    COURSE,
    CourseLife,
    Epoch,
    Step,
    epochs,
    live_through,
    lives,
    tracking_on,
)
from tests.unit.progress_tracking.updates import NOW, OUTLINE, completing, minutes


@settings(max_examples=400)
@given(lives)
async def test_any_life_of_a_course(steps: list[Step]) -> None:
    life = CourseLife(MemoryProgressRepository(), "user-1")
    for step in steps:
        await step(life)


@settings(max_examples=300)
@given(spells=epochs, random=st.randoms(use_true_random=False), together=st.booleans())
async def test_the_order_of_updates_between_two_edits_does_not_matter(
    spells: list[Epoch], random: Random, together: bool
) -> None:
    def in_any_order(updates: list[ProgressUpdate]) -> list[ProgressUpdate]:
        shuffled = updates + updates[: len(updates) // 2 + 1]
        random.shuffle(shuffled)
        return shuffled

    straight = await live_through(MemoryProgressRepository(), "user-1", spells)
    repository = MemoryProgressRepository()
    mixed = await live_through(repository, "user-1", spells, in_any_order, together=together)
    if straight is None or mixed is None:
        assert straight is mixed
    else:
        assert same_record(straight, mixed)


async def test_a_completion_that_only_a_read_saw_is_not_taken_back() -> None:
    """Nothing is recorded between the edit that completes the course and the one that adds."""
    for look in (CourseLife.read, CourseLife.list):
        life = CourseLife(MemoryProgressRepository(), "user-1")
        await life.learn(OUTLINE)
        await life.record(completing(1, "intro"))
        await life.learn(replace(OUTLINE, version=4, items=OUTLINE.items[:1]))
        await look(life)
        await life.learn(replace(OUTLINE, version=5))
        await look(life)
        view = await life.tracking.read("user-1", COURSE)
        assert view is not None
        assert view.course.summary.completed_at == minutes(1)
        assert view.course.summary.updated_at == NOW
        assert view.course.standing.percent == 33
        assert view.course.standing.new_items_since_completion == 1


async def test_what_authors_added_stays_counted_when_it_is_done_too() -> None:
    repository = MemoryProgressRepository()
    tracking = tracking_on(repository)
    await repository.learn_outline(OUTLINE)
    await tracking.record("user-1", COURSE, completing(1, "intro", "tides", "extra"))
    new = OutlineItem("new", required=True, weight=1.0)
    extra = OutlineItem("extra", required=True, weight=1.0)
    await repository.learn_outline(Outline(COURSE, 4, (*OUTLINE.items[:2], new, extra)))
    # What was done before the course was complete is no news, though it is required only now.
    found = await tracking.record("user-1", COURSE, completing(0, "quiz"))
    assert found.progress.course.standing.new_items_since_completion == 1
    assert found.progress.course.standing.percent == 80
    found = await tracking.record("user-1", COURSE, completing(9, "new"))
    assert found.progress.course.standing.new_items_since_completion == 1
    assert found.progress.course.standing.percent == 100
    assert found.progress.course.summary.completed_at == minutes(1)
