"""The use cases of progress tracking: record, read one course, list a user's courses.

Brings together the repository, the outlines and the clock. Who may do this is decided before, in
`api`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.progress_tracking.domain.outline import Outline, Standing, Status, settle, standing
from services.progress_tracking.domain.outlines import KnownOutlines
from services.progress_tracking.domain.progress import (
    ContentProgress,
    CourseProgress,
    CourseSummary,
    ProgressUpdate,
)
from services.progress_tracking.domain.repository import ProgressRepository

MAX_QUERIES_PER_PAGE: Final = 10
"""A filtered page reads on until it is full, but not further than this many pages of the store."""


@dataclass(frozen=True, slots=True)
class CourseView:
    """A summary together with where the learner stands, judged by one and the same outline."""

    summary: CourseSummary
    standing: Standing


@dataclass(frozen=True, slots=True)
class DetailedView:
    """As `CourseView`, with every content's own state."""

    course: CourseView
    contents: dict[str, ContentProgress]


@dataclass(frozen=True, slots=True)
class RecordedView:
    """The merged state after an update; `created` when the update began the course."""

    progress: DetailedView
    created: bool


@dataclass(frozen=True, slots=True)
class CourseFilter:
    """Which courses a listing shows; `updated_since` is included in what it selects."""

    status: Status | None = None
    updated_since: datetime | None = None

    def selects(self, view: CourseView) -> bool:
        """Whether the course belongs into the listing."""
        return (self.status is None or view.standing.status is self.status) and (
            self.updated_since is None or view.summary.updated_at >= self.updated_since
        )


@dataclass(frozen=True, slots=True)
class CoursePage:
    """Courses by id; `next_after` is the id after which the listing goes on, None at its end."""

    courses: tuple[CourseView, ...]
    next_after: str | None


class ProgressTracking:
    """The service's use cases. `clock` gives the present instant with a zone."""

    def __init__(
        self,
        *,
        repository: ProgressRepository,
        outlines: KnownOutlines,
        clock: Callable[[], datetime],
    ) -> None:
        self._repository = repository
        self._outlines = outlines
        self._clock = clock

    async def record(self, user_id: str, course_id: str, update: ProgressUpdate) -> RecordedView:
        """Merge the update into the user's progress. Raises as `ProgressRepository.record`."""
        outline = await self._outlines.one(course_id)
        recorded = await self._repository.record(
            user_id, course_id, update, outline=outline, at=self._clock()
        )
        return RecordedView(_detailed(recorded.progress, outline), recorded.created)

    async def read(self, user_id: str, course_id: str) -> DetailedView | None:
        """The user's progress in the course, None where it was never started."""
        progress = await self._repository.read(user_id, course_id)
        if progress is None:
            return None
        return _detailed(progress, await self._outlines.one(course_id))

    async def list(
        self, user_id: str, *, chosen: CourseFilter, after: str | None, limit: int
    ) -> CoursePage:
        """A page of the user's courses, ordered by id, that `chosen` selects.

        A page is as long as `limit` unless the listing ends or the filter leaves out so much that
        `MAX_QUERIES_PER_PAGE` is reached; then it is shorter and goes on after what was examined.
        """
        courses: list[CourseView] = []
        for _ in range(MAX_QUERIES_PER_PAGE):
            page = await self._repository.list_summaries(user_id, after=after, limit=limit)
            outlines = await self._outlines.many([found.course_id for found in page.summaries])
            for position, summary in enumerate(page.summaries, start=1):
                view = _view(summary, outlines.get(summary.course_id))
                after = summary.course_id
                if chosen.selects(view):
                    courses.append(view)
                if len(courses) == limit:
                    more = page.more or position < len(page.summaries)
                    return CoursePage(tuple(courses), after if more else None)
            if not page.more:
                return CoursePage(tuple(courses), None)
        return CoursePage(tuple(courses), after)


def _view(summary: CourseSummary, outline: Outline | None) -> CourseView:
    return CourseView(settle(summary, outline), standing(summary, outline))


def _detailed(progress: CourseProgress, outline: Outline | None) -> DetailedView:
    return DetailedView(_view(progress.summary, outline), dict(progress.contents))
