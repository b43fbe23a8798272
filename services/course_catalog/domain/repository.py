"""The catalog as its owner sees it: a protocol, so that nothing inside knows where courses are.

Every implementation passes the one contract suite in tests/contract.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from services.course_catalog.domain.course import Change, Course, Status, Summary, Tombstone


class Unchanged(Enum):
    """The answer of who was asked for what is newer."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class CourseRepository(Protocol):
    """Keeps courses. Every method raises CatalogUnavailableError when the store fails.

    Writes are conditional on the version they are based on and keep slugs unique, both in one
    transaction: of two concurrent writers exactly one succeeds.
    """

    async def get(self, course_id: str) -> Course | None:
        """The course as last written; None where there is none or it was deleted."""
        ...

    async def get_newer(self, course_id: str, version: int) -> Course | Unchanged | None:
        """As `get`, but UNCHANGED where it is still in `version` (a version is one content), which takes
        less than reading it whole. With version 0 none is known."""
        ...

    async def create(self, course: Course) -> None:
        """Keep a course that was not there. Raises CourseExistsError (also for the id of a
        course deleted a short while ago), SlugTakenError, CourseTooLargeError."""
        ...

    async def replace(self, course: Course, *, previous: Course) -> None:
        """Put `course` in the place of `previous`, of which it is the successor.

        When `course` itself is there already, as after a repeated request, nothing happens.
        Raises VersionConflictError when what is kept is no longer `previous` or is gone,
        SlugTakenError, CourseTooLargeError.
        """
        ...

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        """Forget `previous`, free its slug and leave the tombstone for `changes`.

        Raises VersionConflictError when what is kept is no longer `previous` or is gone.
        """
        ...

    def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        """Every course in `status`, in batches, in no order that may be relied on.

        May lag behind writes for a moment, and see half of a change that happens meanwhile.
        """
        ...

    def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        """The last change of every course changed or deleted at or after `since`, in batches.

        In no order that may be relied on; may lag behind writes for a moment. Tombstones can be
        found for at least seven days.
        """
        ...
