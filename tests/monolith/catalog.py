"""Courses as the monolith keeps them: `COURSE#<id>`/`META`, and `SLUG#<slug>`/`META` for who has a slug.

Owns the names of attributes and what is taken for granted where old items have none. What is in them,
and how large a course may be, is what the catalog's own table would take: it is to move there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from libs.aws import DependencyError, marshal
from libs.circuit_breaker import CircuitOpenError
from libs.logging import get_logger
from libs.resilience import BulkheadFullError
from services.course_catalog.domain.course import Change, Course, Status, Summary, Tombstone
from services.course_catalog.domain.errors import (
    CatalogUnavailableError,
    CourseExistsError,
    SlugTakenError,
    VersionConflictError,
)
from services.course_catalog.domain.repository import UNCHANGED, Unchanged
from services.course_catalog.storage import items as catalog_items
from tests.monolith.moments import UNKNOWN
from tests.monolith.table import (
    ABSENT,
    BY_STATE,
    BY_UPDATE,
    PARTITION,
    SORT,
    AttributeValue,
    Delete,
    Expected,
    Item,
    Key,
    NotAsExpectedError,
    Put,
    Table,
)

_log = get_logger(__name__)

META: Final = "META"
COURSE: Final = "COURSE#"

_NAMES: Final = {
    "title": "name",
    "description": "about",
    "shortDescription": "summary",
    "language": "lang",
    "instructors": "teachers",
    "status": "state",
    "outline": "sections",
    "outlineVersion": "outlineRev",
    "version": "rev",
}
"""The catalog's attributes that are called otherwise here."""

_THEIRS: Final = {name: theirs for theirs, name in _NAMES.items()}
# The keys of the catalog's table and its indexes, which this table has not.
_LEFT_OUT: Final = frozenset(
    {"courseId", "statusShard", "listedAtId", "changeShard", "changedAtId"}
)
_STATES: Final = {
    Status.DRAFT: "draft",
    Status.PUBLISHED: "live",
    Status.ARCHIVED: "archived",
}
_STATUSES: Final = {
    **{state: str(status) for status, state in _STATES.items()},
    "deleted": "deleted",
}
_DELETED: Final = "deleted"
_UNKNOWN: Final[AttributeValue] = {"S": UNKNOWN}
_MISSING: Final[Item] = {
    "tags": {"L": []},
    "teachers": {"L": []},
    "sections": {"L": []},
    "outlineRev": {"N": "1"},
    "rev": {"N": "1"},
    "createdAt": _UNKNOWN,
}
"""What old items do not say."""
_MISSING_OF_DELETED: Final[Item] = {"rev": {"N": "1"}}


def course_key(course_id: str) -> Key:
    """Where a course is kept."""
    return Key(f"{COURSE}{course_id}", META)


def slug_key(slug: str) -> Key:
    """Where it is kept who has a slug."""
    return Key(f"SLUG#{slug}", META)


def course_item(course: Course) -> Item:
    """A course as it is kept. Raises CourseTooLargeError."""
    return _kept(course.id, catalog_items.course_item(course))


def tombstone_item(tombstone: Tombstone) -> Item:
    """What is kept of a deleted course."""
    return _kept(tombstone.id, catalog_items.tombstone_item(tombstone))


def slug_item(course: Course) -> Item:
    """Who has the course's slug."""
    return {**slug_key(course.slug).item(), **marshal({"courseId": course.id})}


def course_of(item: Item) -> Course | None:
    """The course of an item, None of a deleted one. Raises ValueError for anything else."""
    return catalog_items.course_of(_theirs(item))


def change_of(item: Item) -> Change:
    """What an index says of a course. Raises ValueError for anything else."""
    return catalog_items.change_of(_theirs(item))


def same_version(version: int) -> tuple[AttributeValue | None, ...]:
    """What `rev` may be of an item in that version: old ones have none."""
    found: AttributeValue = {"N": str(version)}
    return (found, None) if version == 1 else (found,)


class LegacyCourses:
    """A `CourseRepository` over the one table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, course_id: str) -> Course | None:
        with guarded():
            item = await self._table.get(course_key(course_id))
        return None if item is None else course_of(item)

    async def get_newer(self, course_id: str, version: int) -> Course | Unchanged | None:
        course = await self.get(course_id)
        return UNCHANGED if course is not None and course.version == version else course

    async def create(self, course: Course) -> None:
        try:
            with guarded():
                await self._table.write(
                    Put(course_item(course), ABSENT), Put(slug_item(course), ABSENT)
                )
        except NotAsExpectedError as refusal:
            if refusal.refused[0]:
                raise CourseExistsError(course.id) from refusal
            raise SlugTakenError(course.slug) from refusal

    async def replace(self, course: Course, *, previous: Course) -> None:
        put = Put(course_item(course), _unchanged(previous))
        others: list[Put | Delete] = []
        if course.slug != previous.slug:
            others = [Put(slug_item(course), ABSENT), _freed(previous)]
        try:
            with guarded():
                await self._table.write(put, *others)
        except NotAsExpectedError as refusal:
            kept = refusal.items[0]
            # Sent again after a lost answer, it meets the very item it brings.
            if kept is not None and course_of(kept) == course:
                return
            if others and not refusal.refused[0] and refusal.refused[1]:
                raise SlugTakenError(course.slug) from refusal
            raise VersionConflictError(course.id, previous.version) from refusal

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        try:
            with guarded():
                await self._table.write(
                    Put(tombstone_item(tombstone), _unchanged(previous)), _freed(previous)
                )
        except NotAsExpectedError as refusal:
            raise VersionConflictError(previous.id, previous.version) from refusal

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        async for batch in self._batches(BY_STATE, _STATES[status], None):
            yield [change for change in batch if isinstance(change, Summary)]

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        # What has no time of its last change is in no index by it: it was not changed since.
        for state in (*_STATES.values(), _DELETED):
            async for batch in self._batches(
                BY_UPDATE, state, catalog_items.changed_since_key(since)
            ):
                yield batch

    async def _batches(
        self, index: str, state: str, since: str | None
    ) -> AsyncIterator[Sequence[Change]]:
        batches = aiter(self._table.index(index, state, since=since))
        while True:
            with guarded():
                items = await anext(batches, None)
            if items is None:
                return
            yield [*_readable(items)]


class guarded:  # noqa: N801 - reads as a statement
    """The failures of the table as the catalog's own."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match error:
            case CircuitOpenError() | BulkheadFullError():
                raise CatalogUnavailableError(
                    "the table is left alone for a moment", error.retry_after_seconds
                ) from error
            case DependencyError():
                raise CatalogUnavailableError(str(error), error.retry_after_seconds) from error


def _kept(course_id: str, item: Mapping[str, Mapping[str, Any]]) -> Item:
    kept = {_NAMES.get(name, name): value for name, value in item.items() if name not in _LEFT_OUT}
    status = kept["state"]["S"]
    state = status if status == _DELETED else _STATES[Status(status)]
    return {**course_key(course_id).item(), **kept, "state": {"S": state}}


def _theirs(item: Item) -> Item:
    """The item as the catalog has it, but for its indexes' keys."""
    state = item.get("state", {}).get("S")
    if state not in _STATUSES:
        raise ValueError(f"not a course: it is {state!r}")
    filled = {**item, "state": {"S": _STATUSES[state]}}
    filled = {**(_MISSING if state != _DELETED else _MISSING_OF_DELETED), **filled}
    filled = {"updatedAt": filled.get("createdAt", _UNKNOWN), **filled}
    return {
        "courseId": {"S": str(item[PARTITION]["S"]).removeprefix(COURSE)},
        **{
            _THEIRS.get(name, name): value
            for name, value in filled.items()
            if name not in (PARTITION, SORT)
        },
    }


def _unchanged(previous: Course) -> Expected:
    return {
        "rev": same_version(previous.version),
        "state": ({"S": _STATES[previous.status]},),
    }


def _freed(course: Course) -> Delete:
    # Courses from before slugs were unique have none.
    return Delete(slug_key(course.slug), {"courseId": ({"S": course.id}, None)})


def _readable(items: Iterable[Item]) -> Iterable[Change]:
    """The courses among them: states are shared, and one that can't be read takes none along."""
    for item in items:
        if not item[PARTITION]["S"].startswith(COURSE):
            continue
        try:
            yield change_of(item)
        except ValueError:
            _log.exception("course_unreadable", courseId=item[PARTITION]["S"])
