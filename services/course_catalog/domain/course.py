"""A course: what an author writes, and its life from draft to published to archived.

Owns the rules of content (lengths, uniqueness inside the outline) and of life (which change is
possible when, what each does to version and timestamps). Uniqueness of slugs among courses is the
repository's, since only one transaction can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from services.course_catalog.domain.errors import (
    InvalidCourseError,
    InvalidTransitionError,
    UnpublishableError,
    Violation,
)
from services.course_catalog.domain.search import words, words_in_order

# Python, Unicode and ECMAScript differ about U+001C to U+001F, U+0085 and U+FEFF; the contract says the
# same, so that it means one thing in every language.
_READABLE = re.compile(r"[^\s\x1c-\x1f\x85\ufeff]")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

MAX_TITLE = 200
MAX_SHORT_DESCRIPTION = 500
MAX_DESCRIPTION = 50_000
# What a course is found by is kept in memory, and in two indexes of the table.
MAX_DESCRIPTION_WORDS = 500
MAX_INDEXED_WORD = 40
MAX_TAGS = 20
MAX_TAG = 50
MAX_INSTRUCTORS = 20
MAX_INSTRUCTOR = 200
MAX_SECTIONS = 200
MAX_ITEMS = 500
MAX_DURATION_SECONDS = 86_400
# Not just above 0: DynamoDB keeps no number that is as near to it as a float can be.
MIN_WEIGHT = 0.001
MAX_WEIGHT = 1_000

SLUG_RULE = "must be lower-case words joined by hyphens, of at most 100 characters"
LANGUAGE_RULE = "must be a BCP 47 language tag"
ITEMS_RULE = f"must have at most {MAX_ITEMS} items"

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
    """One thing to watch, read or do. `weight` is its share in the progress."""

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
    `updated_at` grows with every version, whatever the clocks do. `changed_in` has the version that
    last changed a field of TRACKED; a field that is not in it is as it was created.
    """

    id: str
    status: Status
    outline_version: int
    version: int
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None
    changed_in: Mapping[str, int] = field(default_factory=dict, hash=False)

    def content(self) -> CourseContent:
        """What its author wrote."""
        return CourseContent(**_members(self))

    def edited(self, content: CourseContent, *, now: datetime) -> Course:
        """The course with another content. Raises InvalidCourseError, for what is published also
        when it would lose its last item."""
        violations = [*_violations(content, None)]
        if self.status is Status.PUBLISHED:
            violations += _unpublishable(content)
        if violations:
            raise InvalidCourseError(tuple(violations))
        touched = self._touched(now)
        changed = {
            name: touched.version
            for name, value in _members(content).items()
            if value != getattr(self, name)
        }
        return replace(
            touched,
            **_members(content),
            outline_version=self.outline_version + ("outline" in changed),
            changed_in={**self.changed_in, **changed},
        )

    def published(self, *, now: datetime) -> Course:
        """The course, open to readers; a second publication keeps the first one's instant.

        `published_at` never changes, because the order of listings rests on it. Raises
        InvalidTransitionError when published already, UnpublishableError without an item.
        """
        if self.status is Status.PUBLISHED:
            raise InvalidTransitionError("published", self.status)
        violations = tuple(_unpublishable(self))
        if violations:
            raise UnpublishableError(violations)
        moved = self._moved(Status.PUBLISHED, now)
        return replace(moved, published_at=self.published_at or moved.updated_at)

    def archived(self, *, now: datetime) -> Course:
        """The course, no longer listed. Raises InvalidTransitionError unless published."""
        if self.status is not Status.PUBLISHED:
            raise InvalidTransitionError("archived", self.status)
        return self._moved(Status.ARCHIVED, now)

    def deleted(self, *, now: datetime) -> Tombstone:
        """What is left of a draft once deleted. Raises InvalidTransitionError unless a draft."""
        if self.status is not Status.DRAFT:
            raise InvalidTransitionError("deleted", self.status)
        touched = self._touched(now)
        return Tombstone(self.id, touched.version, touched.updated_at)

    def changed_since(self, version: int) -> Mapping[str, int]:
        """The fields of TRACKED that were changed after `version`, each with its last change."""
        return {name: last for name, last in self.changed_in.items() if last > version}

    def summary(self) -> Summary:
        """What listings show, and are searched by."""
        shown = {name: getattr(self, name) for name in SHOWN}
        return Summary(**shown, description_words=self.description_words())

    def description_words(self) -> tuple[str, ...]:
        """The words of the description by which the course is found: the first that the rest of
        what is searched has not, so many of them that all courses' fit into memory."""
        known = words(" ".join((self.title, self.short_description, *self.tags)))
        found: dict[str, None] = {}
        characters = 0
        for word in words_in_order(self.description):
            if word in known or word in found or len(word) > MAX_INDEXED_WORD:
                continue
            characters += len(word)
            if len(found) == MAX_DESCRIPTION_WORDS or characters > MAX_DESCRIPTION_WORDS * 16:
                break
            found[word] = None
        return tuple(found)

    def _moved(self, status: Status, now: datetime) -> Course:
        touched = self._touched(now)
        changed_in = {**self.changed_in, "status": touched.version}
        return replace(touched, status=status, changed_in=changed_in)

    def _touched(self, now: datetime) -> Course:
        return replace(
            self,
            version=self.version + 1,
            updated_at=max(to_milliseconds(now), self.updated_at + _TICK),
        )


TRACKED = (*(member.name for member in fields(CourseContent)), "status")
"""The fields of a course whose last change is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A course without description and outline, as listings show it, with the words of the
    description that it is found by besides those of what is shown."""

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
    description_words: tuple[str, ...] = ()


SHOWN = tuple(member.name for member in fields(Summary) if member.name != "description_words")
"""The fields of a summary that it has in common with its course."""


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


def is_blank(value: str) -> bool:
    """Whether there is nothing to read in it, by any of the meanings that white space has."""
    return _READABLE.search(value) is None


def is_slug(text: str) -> bool:
    """Whether `text` can be a course's slug."""
    return len(text) <= 100 and _SLUG.fullmatch(text) is not None


def is_language(text: str) -> bool:
    """Whether `text` can be a course's language."""
    return len(text) <= 35 and _LANGUAGE.fullmatch(text) is not None


def require_valid(content: CourseContent, *, course_id: str | None = None) -> None:
    """Raises InvalidCourseError with every rule that `content` breaks."""
    violations = tuple(_violations(content, course_id))
    if violations:
        raise InvalidCourseError(violations)


def _violations(content: CourseContent, course_id: str | None) -> Iterator[Violation]:
    if course_id is not None:
        yield from _identifier("/id", course_id)
    if not is_slug(content.slug):
        yield Violation("/slug", SLUG_RULE)
    yield from _text("/title", content.title, MAX_TITLE)
    yield from _text("/shortDescription", content.short_description, MAX_SHORT_DESCRIPTION)
    yield from _text("/description", content.description, MAX_DESCRIPTION)
    if not is_language(content.language):
        yield Violation("/language", LANGUAGE_RULE)
    yield from _texts("/tags", content.tags, count=MAX_TAGS, length=MAX_TAG)
    yield from _texts(
        "/instructors", content.instructors, count=MAX_INSTRUCTORS, length=MAX_INSTRUCTOR
    )
    yield from _outline(content)


def _unpublishable(content: CourseContent) -> Iterator[Violation]:
    if not any(section.items for section in content.outline):
        yield Violation("/outline", "a published course has at least one item")


def _outline(content: CourseContent) -> Iterator[Violation]:
    if len(content.outline) > MAX_SECTIONS:
        yield Violation("/outline", f"must have at most {MAX_SECTIONS} sections")
    if sum(1 for _ in content.items()) > MAX_ITEMS:
        yield Violation("/outline", ITEMS_RULE)
    sections = [(f"/outline/{number}", section) for number, section in enumerate(content.outline)]
    items = [
        (f"{where}/items/{place}", item)
        for where, section in sections
        for place, item in enumerate(section.items)
    ]
    yield from repeated((f"{where}/id", section.id) for where, section in sections)
    yield from repeated((f"{where}/contentId", item.content_id) for where, item in items)
    for where, section in sections:
        yield from _identifier(f"{where}/id", section.id)
        yield from _text(f"{where}/title", section.title, MAX_TITLE)
        if not section.items:
            yield Violation(f"{where}/items", "must not be empty")
    for where, item in items:
        yield from _item(where, item)


def _item(where: str, item: OutlineItem) -> Iterator[Violation]:
    yield from _identifier(f"{where}/contentId", item.content_id)
    yield from _text(f"{where}/title", item.title, MAX_TITLE)
    if item.duration_seconds is not None and not 0 <= item.duration_seconds <= MAX_DURATION_SECONDS:
        yield Violation(f"{where}/durationSeconds", f"must be 0 to {MAX_DURATION_SECONDS}")
    if not MIN_WEIGHT <= item.weight <= MAX_WEIGHT:  # NaN and infinity fall here too
        yield Violation(f"{where}/weight", f"must be {MIN_WEIGHT} to {MAX_WEIGHT}")


def _identifier(where: str, value: str) -> Iterator[Violation]:
    if not _IDENTIFIER.fullmatch(value):
        yield Violation(where, "must be 1 to 64 characters out of A-Z, a-z, 0-9, _ and -")


def _text(where: str, value: str, length: int) -> Iterator[Violation]:
    if is_blank(value) or len(value) > length:
        yield Violation(where, f"must have 1 to {length} characters, not all blank")


def _texts(where: str, values: tuple[str, ...], *, count: int, length: int) -> Iterator[Violation]:
    if len(values) > count:
        yield Violation(where, f"must have at most {count} entries")
    yield from repeated((f"{where}/{number}", value) for number, value in enumerate(values))
    for number, value in enumerate(values):
        yield from _text(f"{where}/{number}", value, length)


def repeated(values: Iterable[tuple[str, str]]) -> Iterator[Violation]:
    """A violation for each pointer whose value stands at an earlier one already."""
    first: dict[str, str] = {}
    for where, value in values:
        earlier = first.setdefault(value, where)
        if earlier != where:
            yield Violation(where, f"stands already at {earlier}")


def _members(content: CourseContent) -> dict[str, Any]:
    return {member.name: getattr(content, member.name) for member in fields(CourseContent)}
