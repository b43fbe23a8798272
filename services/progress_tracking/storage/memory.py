"""Progress in this process's memory: the twin of the table for tests, under the same suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import (
    CourseProgress,
    CourseSummary,
    ProgressUpdate,
    blank,
    to_milliseconds,
)
from services.progress_tracking.domain.recording import recorded
from services.progress_tracking.domain.repository import Recorded, SummaryPage


class MemoryProgressRepository:
    """A `ProgressRepository` that forgets everything with the process."""

    def __init__(self) -> None:
        self._courses: dict[tuple[str, str], CourseProgress] = {}
        self._outlines: dict[str, Outline] = {}

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        """As `ProgressRepository.read`."""
        return self._courses.get((user_id, course_id))

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        """As `ProgressRepository.record`."""
        current = self._courses.get((user_id, course_id))
        after = recorded(current, update, course_id=course_id, outline=outline, at=at)
        self._courses[user_id, course_id] = after
        return Recorded(after, created=current is None)

    async def keep_completion(
        self, user_id: str, summary: CourseSummary, *, at: datetime
    ) -> CourseSummary:
        """As `ProgressRepository.keep_completion`."""
        course = self._courses[user_id, summary.course_id]
        kept = course.summary
        if kept.attempt != summary.attempt or summary.completed_at is None:
            return summary
        if kept.completed_at is None or summary.completed_at < kept.completed_at:
            updated_at = max(to_milliseconds(at), kept.updated_at)
            kept = replace(kept, completed_at=summary.completed_at, updated_at=updated_at)
            self._courses[user_id, summary.course_id] = replace(course, summary=kept)
        return replace(summary, completed_at=kept.completed_at, updated_at=kept.updated_at)

    async def start_attempt(
        self, user_id: str, course_id: str, *, following: int, at: datetime
    ) -> CourseProgress | None:
        """As `ProgressRepository.start_attempt`."""
        current = self._courses.get((user_id, course_id))
        if current is None or current.summary.attempt != following:
            return current
        begun_at = max(to_milliseconds(at), current.summary.updated_at)
        begun = blank(course_id, attempt=following + 1, at=begun_at)
        self._courses[user_id, course_id] = begun
        return begun

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        """As `ProgressRepository.list_summaries`."""
        following = sorted(
            course_id
            for owner, course_id in self._courses
            if owner == user_id and (after is None or course_id > after)
        )
        return SummaryPage(
            summaries=tuple(
                self._courses[user_id, course_id].summary for course_id in following[:limit]
            ),
            more=len(following) > limit,
        )

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """As `ProgressRepository.read_outlines`."""
        return {
            course_id: self._outlines[course_id]
            for course_id in course_ids
            if course_id in self._outlines
        }

    async def learn_outline(self, outline: Outline) -> bool:
        """As `ProgressRepository.learn_outline`."""
        known = self._outlines.get(outline.course_id)
        if known is not None and known.version >= outline.version:
            return False
        self._outlines[outline.course_id] = outline
        return True
