"""What authors do to courses: read, hold the precondition against it, change, write.

Owns what a repeated or overtaken change means. Knows neither HTTP nor the store; the rules of a
course itself are `course`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.course_catalog.domain.course import (
    Course,
    CourseContent,
    Status,
    Tombstone,
    new_course,
)
from services.course_catalog.domain.errors import (
    CourseExistsError,
    CourseNotFoundError,
    InvalidCourseError,
    InvalidTransitionError,
    UnpublishableError,
    VersionConflictError,
)
from services.course_catalog.domain.repository import CourseRepository

Precondition = Callable[[int], bool]
"""Whether a change may be based on this version of the course."""

# Who gives any version as its base meets others that write; five times in a row it does not.
_ATTEMPTS = 5


class PreconditionFailedError(Exception):
    """The course is not in a version that the change may be based on; `course` is what it is."""

    def __init__(self, course: Course) -> None:
        super().__init__(f"course {course.id} is in version {course.version}")
        self.course = course


class Authoring:
    """Changes courses of `repository`.

    `now` gives the instant; `learn` hears of every change that was written, so that this process
    shows it at once. Every method raises CatalogUnavailableError when the store fails: whether the
    change was made is then not known, and the same request may be sent again.
    """

    def __init__(
        self,
        repository: CourseRepository,
        *,
        now: Callable[[], datetime],
        learn: Callable[[Course | Tombstone], None] = lambda _: None,
    ) -> None:
        self._repository = repository
        self._now = now
        self._learn = learn

    async def create(self, course_id: str, content: CourseContent) -> Course:
        """A new draft under an id that was given out for it and for nothing else.

        What is there under the id already was created by an earlier attempt, and is given as it is
        by now. Raises InvalidCourseError, SlugTakenError, CourseTooLargeError, and
        CourseExistsError where the course has been deleted since.
        """
        course = new_course(course_id, content, now=self._now())
        try:
            await self._repository.create(course)
        except CourseExistsError:
            kept = await self._repository.get(course_id)
            if kept is None:
                raise
            course = kept
        self._learn(course)
        return course

    async def edit(
        self,
        course_id: str,
        matches: Precondition,
        change: Callable[[CourseContent], CourseContent],
    ) -> Course:
        """The course with `change` made to what its author wrote.

        Where that changes nothing, nothing is written. Raises CourseNotFoundError,
        PreconditionFailedError, InvalidCourseError (also `change` may), SlugTakenError,
        CourseTooLargeError.
        """

        def edited(course: Course) -> Course:
            content = change(course.content())
            return (
                course if content == course.content() else course.edited(content, now=self._now())
            )

        return await self._change(course_id, matches, edited)

    async def publish(self, course_id: str, matches: Precondition) -> Course:
        """The course, open to readers; what is published already stays as it is.

        Raises CourseNotFoundError, PreconditionFailedError, UnpublishableError.
        """
        return await self._change(
            course_id,
            matches,
            lambda course: (
                course if course.status is Status.PUBLISHED else course.published(now=self._now())
            ),
        )

    async def archive(self, course_id: str, matches: Precondition) -> Course:
        """The course, no longer listed; what is archived already stays as it is.

        Raises CourseNotFoundError, PreconditionFailedError, InvalidTransitionError for a draft.
        """
        return await self._change(
            course_id,
            matches,
            lambda course: (
                course if course.status is Status.ARCHIVED else course.archived(now=self._now())
            ),
        )

    async def delete(self, course_id: str, matches: Precondition) -> None:
        """Forget a draft and free its slug.

        Raises CourseNotFoundError, PreconditionFailedError, InvalidTransitionError for what is no
        draft.
        """
        tried = False
        for attempt in range(1, _ATTEMPTS + 1):
            course = await self._repository.get(course_id)
            if course is None:
                if tried:  # ours after all, its answer lost on the way; or another's just now
                    return
                raise CourseNotFoundError(course_id)
            if not matches(course.version) or attempt == _ATTEMPTS:
                raise PreconditionFailedError(course)
            tombstone = course.deleted(now=self._now())
            try:
                await self._repository.delete(tombstone, previous=course)
            except VersionConflictError:
                tried = True
            else:
                self._learn(tombstone)
                return

    async def _change(
        self, course_id: str, matches: Precondition, step: Callable[[Course], Course]
    ) -> Course:
        attempt = 0
        while True:
            attempt += 1
            course = await self._repository.get(course_id)
            if course is None:
                raise CourseNotFoundError(course_id)
            if not matches(course.version) or attempt == _ATTEMPTS:
                break
            successor = step(course)
            if successor is not course:
                try:
                    await self._repository.replace(successor, previous=course)
                except VersionConflictError:
                    continue
            self._learn(successor)
            return successor
        if not _is_made(step, course):
            raise PreconditionFailedError(course)
        # RFC 9110, 13.1.1: what appears to have been applied already may be answered as done; most
        # likely it was, by this very request, whose first answer was lost.
        self._learn(course)
        return course


def _is_made(step: Callable[[Course], Course], course: Course) -> bool:
    try:
        return step(course) is course
    except (InvalidCourseError, InvalidTransitionError, UnpublishableError):
        return False
