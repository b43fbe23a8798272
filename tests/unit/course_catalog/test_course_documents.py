"""Single courses while the store fails: what may be shown, for how long, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from services.course_catalog.domain.course import Course, Status
from services.course_catalog.domain.course_documents import (
    CourseDocuments,
    Document,
    DocumentStatistics,
)
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.unit.course_catalog.courses import content, draft, instant, published


@dataclass
class Held:
    """A read that has seen the store and not answered yet."""

    read: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)


class World:
    """Documents over a store that fails on demand."""

    def __init__(self, *, max_bytes: int = 1000) -> None:
        self.seconds = 0.0
        self.failing = False
        self.held: Held | None = None
        self.status: dict[str, Status] = {}
        world = self

        class Repository(InMemoryCourseRepository):
            async def get(self, course_id: str) -> Course | None:
                if world.failing:
                    raise CatalogUnavailableError("failing")
                found = await super().get(course_id)
                if world.held is not None:
                    held, world.held = world.held, None
                    held.read.set()
                    await held.answer.wait()
                return found

        self.repository = Repository()
        self.rendered: list[str] = []
        self.documents = CourseDocuments(
            self.repository,
            render=self._render,
            known_status=lambda course_id: self.status.get(course_id),
            monotonic=lambda: self.seconds,
            max_bytes=max_bytes,
            max_age=100,
        )

    def _render(self, course: Course) -> bytes:
        self.rendered.append(course.id)
        return course.title.encode()

    def hold(self) -> Held:
        """Hold back the answer of the next read."""
        self.held = Held()
        return self.held

    async def add(self, course: Course) -> None:
        await self.repository.create(course)
        self.status[course.id] = course.status


async def test_what_is_there_is_read_each_time() -> None:
    world = World()
    course = published(1)
    await world.add(course)
    assert await world.documents.get("crs-1") == Document(b"Course 1", 2, Status.PUBLISHED)
    edited = course.edited(content(1, title="Edited"), now=instant(1))
    await world.repository.replace(edited, previous=course)
    assert await world.documents.get("crs-1") == Document(b"Edited", 3, Status.PUBLISHED)
    assert await world.documents.get("crs-2") is None


async def test_what_is_still_in_its_version_is_not_rendered_again() -> None:
    world = World()
    course = published(1)
    await world.add(course)
    for _ in range(3):
        assert await world.documents.get("crs-1") == Document(b"Course 1", 2, Status.PUBLISHED)
    assert world.rendered == ["crs-1"]
    edited = course.edited(content(1, title="Edited"), now=instant(1))
    await world.repository.replace(edited, previous=course)
    await world.documents.get("crs-1")
    assert world.rendered == ["crs-1", "crs-1"]


async def test_what_was_read_is_shown_for_a_while_when_reading_fails() -> None:
    world = World()
    await world.add(published(1))
    await world.documents.get("crs-1")
    world.failing = True
    world.seconds = 100
    assert await world.documents.get("crs-1") == Document(b"Course 1", 2, Status.PUBLISHED, 100)
    world.seconds = 101
    with pytest.raises(CatalogUnavailableError):
        await world.documents.get("crs-1")
    with pytest.raises(CatalogUnavailableError):
        await world.documents.get("crs-2")


async def test_what_the_directory_learnt_since_counts() -> None:
    world = World()
    await world.add(published(1))
    await world.documents.get("crs-1")
    world.failing = True
    world.status["crs-1"] = Status.ARCHIVED
    shown = await world.documents.get("crs-1")
    assert shown is not None
    assert shown.status is Status.ARCHIVED
    del world.status["crs-1"]  # deleted
    with pytest.raises(CatalogUnavailableError):
        await world.documents.get("crs-1")


async def test_a_copy_of_a_draft_is_not_shown_after_its_publication() -> None:
    world = World()
    await world.add(draft(1))
    await world.documents.get("crs-1")
    world.failing = True
    assert await world.documents.get("crs-1") == Document(b"Course 1", 1, Status.DRAFT, 0)
    world.status["crs-1"] = Status.PUBLISHED
    with pytest.raises(CatalogUnavailableError):
        await world.documents.get("crs-1")


async def test_a_publication_that_the_directory_has_not_learnt_yet_counts() -> None:
    world = World()
    await world.add(published(1))
    await world.documents.get("crs-1")
    world.failing = True
    world.status["crs-1"] = Status.DRAFT
    assert await world.documents.get("crs-1") == Document(b"Course 1", 2, Status.PUBLISHED, 0)


async def test_a_slow_read_does_not_replace_what_a_later_one_found() -> None:
    world = World()
    course = draft(1)
    await world.add(course)
    held = world.hold()
    slow = asyncio.create_task(world.documents.get("crs-1"))
    await held.read.wait()
    now_published = course.published(now=instant(1))
    await world.repository.replace(now_published, previous=course)
    world.status["crs-1"] = Status.PUBLISHED
    await world.documents.get("crs-1")
    held.answer.set()
    assert await slow == Document(b"Course 1", 1, Status.DRAFT)
    world.failing = True
    assert await world.documents.get("crs-1") == Document(b"Course 1", 2, Status.PUBLISHED, 0)


async def test_a_course_found_to_be_gone_is_not_remembered() -> None:
    world = World()
    course = draft(1)
    await world.add(course)
    await world.documents.get("crs-1")
    await world.repository.delete(course.deleted(now=instant(1)), previous=course)
    assert await world.documents.get("crs-1") is None
    world.failing = True
    with pytest.raises(CatalogUnavailableError):
        await world.documents.get("crs-1")


async def test_memory_is_bounded_and_the_least_recently_used_goes_first() -> None:
    world = World(max_bytes=16)  # two titles of eight bytes
    for number in (1, 2, 3):
        await world.add(published(number))
    await world.add(published(4, title="longer than all that is kept"))
    await world.documents.get("crs-1")
    await world.documents.get("crs-2")
    await world.documents.get("crs-1")
    await world.documents.get("crs-3")
    await world.documents.get("crs-4")
    world.failing = True
    kept = []
    for number in (1, 2, 3, 4):
        try:
            kept.append(await world.documents.get(f"crs-{number}") is not None)
        except CatalogUnavailableError:
            kept.append(False)
    assert kept == [True, False, True, False]


async def test_what_memory_stood_in_for_is_counted() -> None:
    world = World()
    await world.add(published(1))
    await world.documents.get("crs-1")
    assert world.documents.statistics() == DocumentStatistics(0, entries=1, bytes=len("Course 1"))
    world.failing = True
    for course_id in ("crs-1", "crs-1", "crs-2"):
        with contextlib.suppress(CatalogUnavailableError):
            await world.documents.get(course_id)
    assert world.documents.statistics().stale_answers == 2


async def test_what_this_process_wrote_itself_is_kept_in_place_of_what_it_read() -> None:
    world = World()
    course = draft(1)
    await world.add(course)
    await world.documents.get("crs-1")
    edited = course.edited(content(1, title="Mine"), now=instant(1))
    world.documents.learn(edited)
    world.documents.learn(course)  # an answer that was overtaken
    world.failing = True
    document = await world.documents.get("crs-1")
    assert document is not None
    assert (document.body, document.version) == (b"Mine", 2)
    world.documents.learn(edited.deleted(now=instant(2)))
    with pytest.raises(CatalogUnavailableError):
        await world.documents.get("crs-1")
