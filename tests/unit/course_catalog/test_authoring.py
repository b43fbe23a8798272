"""What authors do to courses: preconditions, races and lost answers, without HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from services.course_catalog.domain.authoring import Authoring, PreconditionFailedError
from services.course_catalog.domain.course import Course, CourseContent, Status, Tombstone
from services.course_catalog.domain.errors import (
    CatalogUnavailableError,
    CourseExistsError,
    CourseNotFoundError,
    InvalidTransitionError,
    SlugTakenError,
    UnpublishableError,
)
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.unit.course_catalog.courses import content, draft, instant, published

Step = Callable[[], Awaitable[None]]


class Repository(InMemoryCourseRepository):
    """Courses, with something done before the next writes, and answers that get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Step] = []
        self.twice = False

    async def create(self, course: Course) -> None:
        await self._overtaken()
        await super().create(course)
        if self.twice:  # as an SDK does that lost the first answer
            await super().create(course)

    async def replace(self, course: Course, *, previous: Course) -> None:
        await self._overtaken()
        await super().replace(course, previous=previous)
        if self.twice:
            await super().replace(course, previous=previous)

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        await self._overtaken()
        await super().delete(tombstone, previous=previous)
        if self.twice:
            await super().delete(tombstone, previous=previous)

    async def _overtaken(self) -> None:
        if self.before:
            await self.before.pop(0)()


class World:
    """Authoring over a repository, and what it told this process of."""

    def __init__(self) -> None:
        self.repository = Repository()
        self.learnt: list[Course | Tombstone] = []
        self.seconds = 100
        self.authoring = Authoring(
            self.repository, now=self._now, learn=lambda change: self.learnt.append(change)
        )

    def _now(self) -> datetime:
        self.seconds += 1
        return instant(self.seconds)

    async def overtake(self, course_id: str = "crs-1") -> None:
        """Another author's change."""
        course = await self.repository.get(course_id)
        assert course is not None
        title = f"Overtaken {course.version}"
        await InMemoryCourseRepository.replace(
            self.repository,
            course.edited(titled(title)(course.content()), now=instant(50)),
            previous=course,
        )


def titled(title: str) -> Callable[[CourseContent], CourseContent]:
    def change(before: CourseContent) -> CourseContent:
        return content(1, slug=before.slug, title=title, tags=before.tags)

    return change


def version(number: int) -> Callable[[int], bool]:
    return lambda found: found == number


def anything(_: int) -> bool:
    return True


async def test_what_was_written_is_learnt_and_what_was_not_is_not() -> None:
    world = World()
    created = await world.authoring.create("crs-1", content(1))
    edited = await world.authoring.edit("crs-1", version(1), titled("New"))
    opened = await world.authoring.publish("crs-1", version(2))
    archived = await world.authoring.archive("crs-1", version(3))
    assert world.learnt == [created, edited, opened, archived]
    assert [course.version for course in (created, edited, opened, archived)] == [1, 2, 3, 4]
    with pytest.raises(PreconditionFailedError):
        await world.authoring.edit("crs-1", version(1), titled("Late"))
    with pytest.raises(SlugTakenError):
        await world.authoring.create("crs-2", content(1))
    assert len(world.learnt) == 4
    await world.authoring.create("crs-3", content(3))
    await world.authoring.delete("crs-3", version(1))
    assert world.learnt[-1] == Tombstone("crs-3", 2, instant(world.seconds))


async def test_what_an_earlier_attempt_created_is_given_as_it_is_by_now() -> None:
    world = World()
    await world.authoring.create("crs-1", content(1))
    await world.authoring.edit("crs-1", anything, titled("New"))
    again = await world.authoring.create("crs-1", content(1))
    assert (again.version, again.title) == (2, "New")


async def test_what_was_deleted_since_is_not_created_again() -> None:
    world = World()
    await world.authoring.create("crs-1", content(1))
    await world.authoring.delete("crs-1", anything)
    with pytest.raises(CourseExistsError):
        await world.authoring.create("crs-1", content(1))


async def test_a_write_that_the_sdk_sent_twice_is_made_once() -> None:
    world = World()
    world.repository.twice = True
    assert (await world.authoring.create("crs-1", content(1))).version == 1
    assert (await world.authoring.edit("crs-1", version(1), titled("New"))).version == 2
    await world.authoring.delete("crs-1", version(2))
    assert await world.repository.get("crs-1") is None


async def test_who_names_a_version_loses_and_who_names_none_goes_on() -> None:
    world = World()
    await world.repository.create(draft(1))
    world.repository.before = [world.overtake]
    with pytest.raises(PreconditionFailedError) as failed:
        await world.authoring.edit("crs-1", version(1), titled("Mine"))
    assert failed.value.course.version == 2
    world.repository.before = [world.overtake, world.overtake]
    assert (await world.authoring.edit("crs-1", anything, titled("Mine"))).version == 5


@pytest.mark.parametrize("action", ["edit", "publish", "archive", "delete"])
async def test_nobody_goes_on_for_ever(action: str) -> None:
    world = World()
    await world.repository.create(draft(1) if action != "archive" else published(1))
    world.repository.before = [world.overtake] * 50
    arguments = (titled("Mine"),) if action == "edit" else ()
    with pytest.raises(PreconditionFailedError):
        await getattr(world.authoring, action)("crs-1", anything, *arguments)
    assert len(world.repository.before) >= 45


async def test_the_change_of_another_that_is_the_same_counts_as_made() -> None:
    world = World()
    await world.repository.create(draft(1))

    async def same() -> None:
        await world.authoring.edit("crs-1", version(1), titled("Both"))

    world.repository.before = [same]
    course = await world.authoring.edit("crs-1", version(1), titled("Both"))
    assert (course.version, course.title) == (2, "Both")


async def test_deleting_what_another_deletes_meanwhile_is_deleting_it() -> None:
    world = World()
    await world.repository.create(draft(1))

    async def delete() -> None:
        await world.authoring.delete("crs-1", version(1))

    world.repository.before = [delete]
    await world.authoring.delete("crs-1", version(1))
    with pytest.raises(CourseNotFoundError):
        await world.authoring.delete("crs-1", version(1))


@pytest.mark.parametrize("action", ["publish", "archive", "delete"])
async def test_what_is_not_there_is_not_found(action: str) -> None:
    world = World()
    with pytest.raises(CourseNotFoundError):
        await getattr(world.authoring, action)("crs-1", anything)
    with pytest.raises(CourseNotFoundError):
        await world.authoring.edit("crs-1", anything, titled("x"))


async def test_a_version_that_does_not_match_comes_before_any_rule() -> None:
    world = World()
    await world.repository.create(draft(1, outline=()))
    await world.repository.create(published(2))
    for course_id, action in (("crs-1", "publish"), ("crs-1", "archive"), ("crs-2", "delete")):
        with pytest.raises(PreconditionFailedError):
            await getattr(world.authoring, action)(course_id, version(9))
    with pytest.raises(UnpublishableError):
        await world.authoring.publish("crs-1", version(1))
    with pytest.raises(InvalidTransitionError):
        await world.authoring.archive("crs-1", version(1))
    with pytest.raises(InvalidTransitionError):
        await world.authoring.delete("crs-2", version(2))


async def test_a_store_that_fails_is_told_as_it_is_and_nothing_is_learnt() -> None:
    world = World()
    await world.repository.create(draft(1))

    async def fail() -> None:
        raise CatalogUnavailableError("down")

    world.repository.before = [fail, fail]
    with pytest.raises(CatalogUnavailableError):
        await world.authoring.publish("crs-1", anything)
    with pytest.raises(CatalogUnavailableError):
        await world.authoring.delete("crs-1", anything)
    assert world.learnt == []
    kept = await world.repository.get("crs-1")
    assert kept is not None
    assert kept.status is Status.DRAFT
