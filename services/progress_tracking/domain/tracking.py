"""The use cases of progress tracking: record (one course or many), read, list, start anew.

Brings together the repository, the outlines and the clock. Who may do this is decided before, in
`api`.

A completion that somebody was shown is never taken back, whatever authors do to the outline next.
So a view that finds a course complete, or complete earlier, has that kept before it is given out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from services.progress_tracking.domain.errors import AttemptNotStartedError
from services.progress_tracking.domain.outline import (
    Outline,
    Standing,
    Status,
    settle,
    standing_of_settled,
)
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

MAX_CONCURRENT_COURSES: Final = 4
"""Courses of one batch that are recorded at the same time."""


class CourseView(NamedTuple):
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
class BatchEntry:
    """An update of one course among several."""

    course_id: str
    update: ProgressUpdate


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
        return await self._record(user_id, course_id, update, await self._outlines.one(course_id))

    async def record_batch(
        self, user_id: str, entries: Sequence[BatchEntry], *, seconds: float
    ) -> Sequence[RecordedView | Exception]:
        """Record each entry for itself; what an entry raised is its result and stops no other.

        Results stand in the order of the entries and, because updates merge, say the same in any
        order: all recorded entries of a course give the state after the last of them, and were
        `created` if one of them began the course. What is not done after `seconds` is given up as
        TimeoutError. Raises only what reading the outlines does.
        """
        ends_at = asyncio.get_running_loop().time() + seconds
        by_course: dict[str, list[int]] = {}
        for number, entry in enumerate(entries):
            by_course.setdefault(entry.course_id, []).append(number)
        async with asyncio.timeout_at(ends_at):
            outlines = await self._outlines.many(list(by_course))
        results: dict[int, RecordedView | Exception] = {}
        permits = asyncio.Semaphore(MAX_CONCURRENT_COURSES)

        async def record_course(course_id: str, numbers: Sequence[int]) -> None:
            # One after another: at the same time they would only get in each other's way.
            async with permits:
                found = {
                    number: await self._record_until(
                        ends_at, user_id, entries[number], outlines.get(course_id)
                    )
                    for number in numbers
                }
            results.update(_of_one_course(found))

        async with asyncio.TaskGroup() as group:
            for course_id, numbers in by_course.items():
                group.create_task(record_course(course_id, numbers))
        return [results[number] for number in range(len(entries))]

    async def read(self, user_id: str, course_id: str) -> DetailedView | None:
        """The user's progress in the course, None where it was never started."""
        progress = await self._repository.read(user_id, course_id)
        if progress is None:
            return None
        return await self._detailed(user_id, progress, await self._outlines.one(course_id))

    async def restart(
        self, user_id: str, course_id: str, *, ending: int | None
    ) -> DetailedView | None:
        """End an attempt by beginning the next, and give the current one; None if never started.

        `ending` is the attempt that is to end, None for the current one. Nothing changes when it
        is over already, or when nothing was recorded in it, so that repeating the call, as after
        a lost answer, skips no attempt. Raises AttemptNotStartedError.
        """
        progress = await self._repository.read(user_id, course_id)
        if progress is None:
            return None
        current = progress.summary.attempt
        if ending is not None and ending > current:
            raise AttemptNotStartedError(current)
        if ending in (None, current) and progress.summary.started_at is not None:
            progress = await self._repository.start_attempt(
                user_id, course_id, following=current, at=self._clock()
            )
        if progress is None:
            return None
        return await self._detailed(user_id, progress, await self._outlines.one(course_id))

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
                view = await self._view(user_id, summary, outlines.get(summary.course_id))
                after = summary.course_id
                if chosen.selects(view):
                    courses.append(view)
                if len(courses) == limit:
                    more = page.more or position < len(page.summaries)
                    return CoursePage(tuple(courses), after if more else None)
            if not page.more:
                return CoursePage(tuple(courses), None)
        return CoursePage(tuple(courses), after)

    async def _record(
        self, user_id: str, course_id: str, update: ProgressUpdate, outline: Outline | None
    ) -> RecordedView:
        recorded = await self._repository.record(
            user_id, course_id, update, outline=outline, at=self._clock()
        )
        progress = await self._detailed(user_id, recorded.progress, outline)
        return RecordedView(progress, recorded.created)

    async def _record_until(
        self, ends_at: float, user_id: str, entry: BatchEntry, outline: Outline | None
    ) -> RecordedView | Exception:
        if asyncio.get_running_loop().time() >= ends_at:
            return TimeoutError("the batch's time was over before this entry was begun")
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._record(user_id, entry.course_id, entry.update, outline)
        except Exception as error:
            return error

    async def _detailed(
        self, user_id: str, progress: CourseProgress, outline: Outline | None
    ) -> DetailedView:
        view = await self._view(user_id, progress.summary, outline)
        return DetailedView(view, dict(progress.contents))

    async def _view(
        self, user_id: str, summary: CourseSummary, outline: Outline | None
    ) -> CourseView:
        settled = settle(summary, outline)
        if settled.completed_at != summary.completed_at:
            # Rare: the outline became known, or lost what was missing, since the last update.
            settled = await self._repository.keep_completion(user_id, settled, at=self._clock())
        return CourseView(settled, standing_of_settled(settled, outline))


def _of_one_course(
    found: Mapping[int, RecordedView | Exception],
) -> dict[int, RecordedView | Exception]:
    recorded = [result for result in found.values() if isinstance(result, RecordedView)]
    if not recorded:
        return dict(found)
    all_of_them = RecordedView(
        recorded[-1].progress, created=any(result.created for result in recorded)
    )
    return {
        number: all_of_them if isinstance(result, RecordedView) else result
        for number, result in found.items()
    }
