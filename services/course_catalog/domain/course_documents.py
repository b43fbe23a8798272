"""Single courses, read from the repository, and from memory while that fails.

Owns the bounded memory of what was read and the rule of when it may be shown. A course that is still
in the version that is remembered is not rendered again. Knows neither HTTP
nor the store; what a course looks like is the given `render`'s business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from services.course_catalog.domain.course import Course, Status, Tombstone
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.domain.repository import UNCHANGED, CourseRepository

# Versions count from 1.
_NO_VERSION = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A rendered course. `age` in seconds where it comes from memory, None when just read."""

    body: bytes
    version: int
    status: Status
    age: float | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    document: Document
    read_at: float


@dataclass(frozen=True, slots=True)
class DocumentStatistics:
    """How often memory stood in for the repository since the start, and what it holds now."""

    stale_answers: int
    entries: int
    bytes: int


class CourseDocuments:
    """Courses by id, each read kept for the time when reading fails.

    `known_status` is the directory's: a course it has no longer was deleted after it was kept and
    is not shown, and a newer status than the kept one counts. But what was kept of a draft is not
    shown once it is one no longer: it may hold what its author removed before publishing.
    `max_bytes` bounds the sum of the kept bodies (the least recently used goes first), `max_age`
    the seconds for which one is good.
    """

    def __init__(
        self,
        repository: CourseRepository,
        *,
        render: Callable[[Course], bytes],
        known_status: Callable[[str], Status | None],
        monotonic: Callable[[], float],
        max_bytes: int,
        max_age: float,
    ) -> None:
        self._repository = repository
        self._render = render
        self._known_status = known_status
        self._monotonic = monotonic
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._stale_answers = 0

    def statistics(self) -> DocumentStatistics:
        """What was kept, and how often it was needed."""
        return DocumentStatistics(self._stale_answers, len(self._kept), self._bytes)

    async def get(self, course_id: str) -> Document | None:
        """The course, None where there is none.

        Raises CatalogUnavailableError when it can neither be read nor is remembered.
        """
        kept = self._kept.get(course_id)
        try:
            course = await self._repository.get_newer(
                course_id, _NO_VERSION if kept is None else kept.document.version
            )
        except CatalogUnavailableError:
            remembered = self._remembered(course_id)
            if remembered is None:
                raise
            self._stale_answers += 1
            return remembered
        if course is None:
            self._forget(course_id)
            return None
        if course is UNCHANGED:
            assert kept is not None
            # A version is one content: what was rendered of it is what it looks like.
            document = kept.document
        else:
            document = self._document(course)
        self._keep(course_id, document)
        return document

    def learn(self, change: Course | Tombstone) -> None:
        """Keep what this process has just written in place of what it read before."""
        if isinstance(change, Course):
            self._keep(change.id, self._document(change))
        else:
            self._forget(change.id)

    def _document(self, course: Course) -> Document:
        return Document(self._render(course), course.version, course.status)

    def _remembered(self, course_id: str) -> Document | None:
        kept = self._kept.get(course_id)
        status = self._known_status(course_id)
        if kept is None or status is None:
            return None
        if kept.document.status is Status.DRAFT and status is not Status.DRAFT:
            return None
        if status is Status.DRAFT:  # nothing becomes a draft again: the directory lags behind
            status = kept.document.status
        age = self._monotonic() - kept.read_at
        if age > self._max_age:
            self._forget(course_id)
            return None
        self._kept.move_to_end(course_id)
        return Document(kept.document.body, kept.document.version, status, age)

    def _keep(self, course_id: str, document: Document) -> None:
        known = self._kept.get(course_id)
        if known is not None and known.document.version > document.version:
            return  # a read that began later has answered first
        self._forget(course_id)
        if len(document.body) > self._max_bytes:
            return
        self._kept[course_id] = _Kept(document, self._monotonic())
        self._bytes += len(document.body)
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.document.body)

    def _forget(self, course_id: str) -> None:
        kept = self._kept.pop(course_id, None)
        if kept is not None:
            self._bytes -= len(kept.document.body)
