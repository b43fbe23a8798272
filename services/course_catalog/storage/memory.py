"""The in-memory twin of the DynamoDB repository, for tests; it keeps the same promises.

It stores items, not objects, so that what does not survive the mapping does not survive here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from services.course_catalog.domain.course import Change, Course, Status, Summary, Tombstone
from services.course_catalog.domain.errors import (
    CourseExistsError,
    SlugTakenError,
    VersionConflictError,
)
from services.course_catalog.domain.repository import UNCHANGED, Unchanged
from services.course_catalog.storage.items import (
    Item,
    change_of,
    changed_since_key,
    course_item,
    course_of,
    tombstone_item,
)


class InMemoryCourseRepository:
    """A CourseRepository in a dictionary; nothing is ever awaited inside a write."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._owners: dict[str, str] = {}

    async def get(self, course_id: str) -> Course | None:
        item = self._items.get(course_id)
        return None if item is None else course_of(item)

    async def get_newer(self, course_id: str, version: int) -> Course | Unchanged | None:
        course = await self.get(course_id)
        return UNCHANGED if course is not None and course.version == version else course

    async def create(self, course: Course) -> None:
        item = course_item(course)
        if course.id in self._items:
            raise CourseExistsError(course.id)
        self._take_slug(course)
        self._items[course.id] = item

    async def replace(self, course: Course, *, previous: Course) -> None:
        item = course_item(course)
        if self._items.get(course.id) == item:
            return
        self._require(previous)
        if course.slug != previous.slug:
            self._take_slug(course)
            del self._owners[previous.slug]
        self._items[course.id] = item

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        self._require(previous)
        del self._owners[previous.slug]
        self._items[previous.id] = tombstone_item(tombstone)

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        found = [change_of(item) for item in self._items.values() if item["status"]["S"] == status]
        yield [change for change in found if isinstance(change, Summary)]

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        key = changed_since_key(since)
        yield [change_of(item) for item in self._items.values() if item["changedAtId"]["S"] >= key]

    def _require(self, previous: Course) -> None:
        item = self._items.get(previous.id)
        if item is None or course_of(item) is None:
            raise VersionConflictError(previous.id, previous.version)
        if item["version"]["N"] != str(previous.version):
            raise VersionConflictError(previous.id, previous.version)

    def _take_slug(self, course: Course) -> None:
        if course.slug in self._owners:
            raise SlugTakenError(course.slug)
        self._owners[course.slug] = course.id
