"""The monolith's progress with a way to give a course an outline: the suites have services learn them
from events, where the monolith asks its catalog."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from libs.aws import marshal
from services.progress_tracking.domain.outline import Outline
from tests.monolith.catalog import LegacyCourses, course_key
from tests.monolith.outlines import OutlinesOfCourses
from tests.monolith.progress import LegacyProgress
from tests.monolith.table import ABSENT, Expected, NotAsExpectedError, Put, Table


class CourseOutlines:
    """Outlines as the courses of the one table have them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._reader = OutlinesOfCourses(LegacyCourses(table))

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        return await self._reader.read_outlines(course_ids)

    async def learn_outline(self, outline: Outline) -> bool:
        """As its author publishes it; never in the place of a later version."""
        key = course_key(outline.course_id)
        while True:
            known = await self._table.get(key)
            expected: Expected = ABSENT
            if known is not None:
                if int(known["outlineRev"]["N"]) >= outline.version:
                    return False
                expected = {"outlineRev": (known["outlineRev"],)}
            try:
                await self._table.write(Put({**key.item(), **marshal(_course(outline))}, expected))
            except NotAsExpectedError:
                continue
            return True


class ProgressWithOutlines(LegacyProgress):
    """A whole `ProgressRepository` over the one table."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._outlines = CourseOutlines(table)

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """As `ProgressRepository.read_outlines`."""
        return await self._outlines.read_outlines(course_ids)

    async def learn_outline(self, outline: Outline) -> bool:
        """As `ProgressRepository.learn_outline`."""
        return await self._outlines.learn_outline(outline)


def _course(outline: Outline) -> Mapping[str, Any]:
    items = [
        {
            "contentId": item.content_id,
            "title": "An item",
            "type": "video",
            "durationSeconds": None,
            "required": item.required,
            "weight": item.weight,
        }
        for item in outline.items
    ]
    return {
        "name": "A course",
        "slug": "a-course",
        "about": "What it is about.",
        "summary": "What it is about.",
        "lang": "en",
        "level": "beginner",
        "state": "live",
        "sections": [{"id": "one", "title": "One", "items": items}] if items else [],
        "outlineRev": outline.version,
    }
