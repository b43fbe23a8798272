"""A course: what an author writes, and its life from draft to published to archived.

Owns the rules of content (lengths, uniqueness inside the outline) and of life (which change is
possible when, what each does to version and timestamps). Uniqueness of slugs among courses is the
repository's, since only one transaction can tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from services.course_catalog.domain.errors import (
    InvalidCourseError,
    InvalidTransitionError,
    Violation,
)

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

MAX_TITLE = 200
MAX_SHORT_DESCRIPTION = 500
MAX_DESCRIPTION = 50_000
MAX_TAGS = 20
MAX_TAG = 50
MAX_INSTRUCTORS = 20
MAX_SECTIONS = 200
MAX_ITEMS = 1_000
MAX_DURATION_SECONDS = 86_400
MAX_WEIGHT = 1_000

_TICK = timedelta(milliseconds=1)


class Level(StrEnum):
    """How much a course takes for granted."""

    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"


class Status(StrEnum):
    """Where a course stands in its life."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class ItemType(StrEnum):
    """What a learner does with an outline item."""

    VIDEO = "video"
    QUIZ = "quiz"
    ASSIGNMENT = "assignment"
    READING = "reading"


@dataclass(frozen=True, slots=True)
class OutlineItem:
    """One thing to watch, read or do. `weight` is its share in the progress, above 0."""

    content_id: str
    title: str
    type: ItemType
    duration_seconds: int | None = None
    required: bool = True
    weight: float = 1


@dataclass(frozen=True, slots=True)
class Section:
    """A titled run of outline items."""

    id: str
    title: str
    items: tuple[OutlineItem, ...]


@dataclass(frozen=True, kw_only=True)
class CourseContent:
    """What an author writes: everything of a course that does not follow from its life."""

    slug: str
    title: str
    description: str
    short_description: str
    language: str
    level: Level
    tags: tuple[str, ...] = ()
    instructors: tuple[str, ...] = ()
    outline: tuple[Section, ...] = ()

    def items(self) -> Iterator[OutlineItem]:
        """Every outline item, in order."""
        for section in self.outline:
            yield from section.items


@dataclass(frozen=True, kw_only=True)
class Course(CourseContent):
    """A course as it is kept. Every change gives a new object with the next `version`.

    Timestamps are UTC with whole milliseconds, the grain in which they are stored and shown;
    `updated_at` grows with every version, whatever the clocks do.
    """

    id: str
    status: Status
    outline_version: int
    version: int
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None

    def edited(self, content: CourseContent, *, now: datetime) -> Course:
        """The course with another content. Raises InvalidCourseError."""
        require_valid(content)
        outline_changed = content.outline != self.outline
        return replace(
            self._touched(now),
            **_members(content),
            outline_version=self.outline_version + outline_changed,
        )

    def published(self, *, now: datetime) -> Course:
        """The course, open to readers; a second publication keeps the first one's instant.

        `published_at` never changes, because the order of listings rests on it. Raises
        InvalidTransitionError when published already, InvalidCourseError without an outline.
        """
        if self.status is Status.PUBLISHED:
            raise InvalidTransitionError("published", self.status)
        if not any(True for _ in self.items()):
            raise InvalidCourseError(
                (Violation("/outline", "a published course has at least one item"),)
            )
        touched = self._touched(now)
        return replace(
            touched,
            status=Status.PUBLISHED,
            published_at=self.published_at or touched.updated_at,
        )

    def archived(self, *, now: datetime) -> Course:
        """The course, no longer listed. Raises InvalidTransitionError unless published."""
        if self.status is not Status.PUBLISHED:
            raise InvalidTransitionError("archived", self.status)
        return replace(self._touched(now), status=Status.ARCHIVED)

    def deleted(self, *, now: datetime) -> Tombstone:
        """What is left of a draft once deleted. Raises InvalidTransitionError unless a draft."""
        if self.status is not Status.DRAFT:
            raise InvalidTransitionError("deleted", self.status)
        touched = self._touched(now)
        return Tombstone(self.id, touched.version, touched.updated_at)

    def summary(self) -> Summary:
        """What listings show."""
        return Summary(**{field.name: getattr(self, field.name) for field in fields(Summary)})

    def _touched(self, now: datetime) -> Course:
        return replace(
            self,
            version=self.version + 1,
            updated_at=max(to_milliseconds(now), self.updated_at + _TICK),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A course without description and outline, as listings show it."""

    id: str
    slug: str
    title: str
    short_description: str
    language: str
    level: Level
    tags: tuple[str, ...]
    instructors: tuple[str, ...]
    status: Status
    outline_version: int
    version: int
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted course: kept for a while so that who follows the changes learns of it."""

    id: str
    version: int
    deleted_at: datetime


Change = Summary | Tombstone


def new_course(course_id: str, content: CourseContent, *, now: datetime) -> Course:
    """A draft in its first version. Raises InvalidCourseError."""
    require_valid(content, course_id=course_id)
    instant = to_milliseconds(now)
    return Course(
        **_members(content),
        id=course_id,
        status=Status.DRAFT,
        outline_version=1,
        version=1,
        created_at=instant,
        updated_at=instant,
        published_at=None,
    )


def to_milliseconds(instant: datetime) -> datetime:
    """`instant` in UTC, cut to whole milliseconds. Raises ValueError without a zone."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs a zone")
    utc = instant.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def require_valid(content: CourseContent, *, course_id: str | None = None) -> None:
    """Raises InvalidCourseError with every rule that `content` breaks."""
    violations = tuple(_violations(content, course_id))
    if violations:
        raise InvalidCourseError(violations)


def _violations(content: CourseContent, course_id: str | None) -> Iterator[Violation]:
    if course_id is not None:
        yield from _identifier("/id", course_id)
    if len(content.slug) > 100 or not _SLUG.fullmatch(content.slug):
        yield Violation("/slug", "must be lower-case words joined by hyphens, at most 100")
    yield from _text("/title", content.title, MAX_TITLE)
    yield from _text("/shortDescription", content.short_description, MAX_SHORT_DESCRIPTION)
    yield from _text("/description", content.description, MAX_DESCRIPTION)
    if len(content.language) > 35 or not _LANGUAGE.fullmatch(content.language):
        yield Violation("/language", "must be a BCP 47 language tag")
    yield from _texts("/tags", content.tags, count=MAX_TAGS, length=MAX_TAG)
    yield from _texts("/instructors", content.instructors, count=MAX_INSTRUCTORS, length=200)
    yield from _outline(content)


def _outline(content: CourseContent) -> Iterator[Violation]:
    if len(content.outline) > MAX_SECTIONS:
        yield Violation("/outline", f"must have at most {MAX_SECTIONS} sections")
    if sum(1 for _ in content.items()) > MAX_ITEMS:
        yield Violation("/outline", f"must have at most {MAX_ITEMS} items")
    yield from _unique("/outline", "section id", (section.id for section in content.outline))
    yield from _unique("/outline", "contentId", (item.content_id for item in content.items()))
    for number, section in enumerate(content.outline):
        where = f"/outline/{number}"
        yield from _identifier(f"{where}/id", section.id)
        yield from _text(f"{where}/title", section.title, MAX_TITLE)
        if not section.items:
            yield Violation(f"{where}/items", "must not be empty")
        for place, item in enumerate(section.items):
            yield from _item(f"{where}/items/{place}", item)


def _item(where: str, item: OutlineItem) -> Iterator[Violation]:
    yield from _identifier(f"{where}/contentId", item.content_id)
    yield from _text(f"{where}/title", item.title, MAX_TITLE)
    if item.duration_seconds is not None and not 0 <= item.duration_seconds <= MAX_DURATION_SECONDS:
        yield Violation(f"{where}/durationSeconds", f"must be 0 to {MAX_DURATION_SECONDS}")
    if not 0 < item.weight <= MAX_WEIGHT:  # NaN and infinity fall here too
        yield Violation(f"{where}/weight", f"must be above 0 and at most {MAX_WEIGHT}")


def _identifier(where: str, value: str) -> Iterator[Violation]:
    if not _IDENTIFIER.fullmatch(value):
        yield Violation(where, "must be 1 to 64 characters out of A-Z, a-z, 0-9, _ and -")


def _text(where: str, value: str, length: int) -> Iterator[Violation]:
    if not value.strip() or len(value) > length:
        yield Violation(where, f"must have 1 to {length} characters, not all blank")


def _texts(where: str, values: tuple[str, ...], *, count: int, length: int) -> Iterator[Violation]:
    if len(values) > count:
        yield Violation(where, f"must have at most {count} entries")
    yield from _unique(where, "entry", values)
    for number, value in enumerate(values):
        yield from _text(f"{where}/{number}", value, length)


def _unique(where: str, what: str, values: Iterable[str]) -> Iterator[Violation]:
    for value, times in Counter(values).items():
        if times > 1:
            yield Violation(where, f"{what} {value} stands {times} times")


def _members(content: CourseContent) -> dict[str, Any]:
    return {field.name: getattr(content, field.name) for field in fields(CourseContent)}
