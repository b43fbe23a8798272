"""What the progress module asks of the catalog module: the outlines of courses."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from services.course_catalog.domain.course import Course, Status
from services.course_catalog.domain.repository import CourseRepository
from services.progress_tracking.domain.outline import Outline, OutlineItem

_AT_ONCE: Final = 8


class OutlinesOfCourses:
    """An `OutlineReader` over the courses themselves. A draft's outline is the author's alone."""

    def __init__(self, courses: CourseRepository) -> None:
        self._courses = courses

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """See `OutlineReader.read_outlines`."""
        permits = asyncio.Semaphore(_AT_ONCE)

        async def read(course_id: str) -> Course | None:
            async with permits:
                return await self._courses.get(course_id)

        found = await asyncio.gather(*map(read, set(course_ids)))
        return {
            course.id: _outline(course)
            for course in found
            if course is not None and course.status is not Status.DRAFT
        }


def _outline(course: Course) -> Outline:
    return Outline(
        course.id,
        course.outline_version,
        tuple(OutlineItem(item.content_id, item.required, item.weight) for item in course.items()),
    )
