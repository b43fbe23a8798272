"""What can go wrong with a course. Plain exceptions; who speaks HTTP decides their status."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One broken rule: a JSON pointer (RFC 6901) into the course and a sentence."""

    pointer: str
    message: str


class InvalidCourseError(Exception):
    """The course breaks rules of the domain; `violations` names every one."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(f"{found.pointer}: {found.message}" for found in violations))
        self.violations = violations


class UnpublishableError(Exception):
    """The course can't be opened to readers as it is; `violations` names what is missing."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(f"{found.pointer}: {found.message}" for found in violations))
        self.violations = violations


class InvalidTransitionError(Exception):
    """The course's status does not allow the action, such as deleting a published course."""

    def __init__(self, action: str, status: str) -> None:
        super().__init__(f"a course that is {status} cannot be {action}")
        self.action = action
        self.status = status


class CourseNotFoundError(Exception):
    """There is no such course, or no longer."""

    def __init__(self, course_id: str) -> None:
        super().__init__(f"there is no course {course_id}")
        self.course_id = course_id


class CourseExistsError(Exception):
    """The id is taken, possibly by a course deleted a short while ago."""

    def __init__(self, course_id: str) -> None:
        super().__init__(f"course {course_id} exists")
        self.course_id = course_id


class SlugTakenError(Exception):
    """Another course holds the slug."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"the slug {slug} is taken")
        self.slug = slug


class VersionConflictError(Exception):
    """The course is no longer in the version the change was based on, or is gone."""

    def __init__(self, course_id: str, expected_version: int) -> None:
        super().__init__(f"course {course_id} is no longer in version {expected_version}")
        self.course_id = course_id
        self.expected_version = expected_version


class CourseTooLargeError(Exception):
    """The course is larger than the table keeps in one item; sizes in bytes.

    `pointer` leads to the part that takes most of it.
    """

    def __init__(self, course_id: str, size: int, limit: int, pointer: str) -> None:
        super().__init__(
            f"course {course_id} has {size} bytes as it is stored; at most {limit} can be kept"
        )
        self.course_id = course_id
        self.size = size
        self.limit = limit
        self.pointer = pointer


class CatalogUnavailableError(Exception):
    """The catalog cannot be read or written now; trying again later may help.

    `retry_after_seconds` is when, where that is known. The cause is chained.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
