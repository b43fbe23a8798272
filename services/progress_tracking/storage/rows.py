"""The rows of the Progress table: their keys, and what stands in them.

Partition key `userId`, sort key `sk`:

- `H#<courseId>#c`: the course row. attempt, startedAt, completedAt, updatedAt and the string set
  `completed`, one member `<contentId>#<milliseconds since 1970>` for each completion.
- `H#<courseId>#r`: the recent row. attempt, updatedAt and the resume point. All that a heartbeat
  writes; always less than 1 KB.
- `P#<courseId>#<contentId>`: the content row. attempt, updatedAt, fraction and position.
- partition `~outline#<courseId>`, `OUTLINE`: the outline learnt of a course. No user's id holds a
  `~` or a `#`.

`#` sorts before every character of an id, so rows sort as the ids do, and no id is another's
prefix. A row of an earlier attempt than the course row's counts as absent.

A user's rows are read in one go where they are as they are written, which is nearly always; a page
of courses is made of a hundred of them. What is otherwise in any way is read attribute by attribute,
which says what is wrong, or finds that nothing is. A test holds the first to the second.
"""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from libs.aws import marshal, unmarshal
from libs.timestamps import format_timestamp, parse_timestamp
from services.progress_tracking.domain.errors import CorruptProgressError
from services.progress_tracking.domain.outline import Outline, OutlineItem
from services.progress_tracking.domain.progress import (
    ContentProgress,
    CourseSummary,
    Position,
    ResumePoint,
)

Item: TypeAlias = Mapping[str, Mapping[str, Any]]
"""A row in DynamoDB's wire form."""

PARTITION: Final = "userId"
SORT: Final = "sk"

ATTEMPT: Final = "attempt"
STARTED_AT: Final = "startedAt"
COMPLETED_AT: Final = "completedAt"
COMPLETED: Final = "completed"
UPDATED_AT: Final = "updatedAt"
OCCURRED_AT: Final = "occurredAt"
DEVICE_ID: Final = "deviceId"
CONTENT_ID: Final = "contentId"
POSITION_SECONDS: Final = "positionSeconds"
FRACTION: Final = "fraction"
OUTLINE_VERSION: Final = "outlineVersion"

RESUME_ATTRIBUTES: Final = (OCCURRED_AT, DEVICE_ID, CONTENT_ID, POSITION_SECONDS)
POSITION_ATTRIBUTES: Final = (OCCURRED_AT, DEVICE_ID, POSITION_SECONDS)

_COURSE_ROW, _RECENT_ROW = "c", "r"
_OUTLINE_PARTITION, _OUTLINE_SORT = "~outline#", "OUTLINE"
_ATTRIBUTES_OF_ANY: Final = len((PARTITION, SORT, ATTEMPT, UPDATED_AT))
_INTEGER: Final = re.compile(r"[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FIRST_MILLISECOND: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST_MILLISECOND: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND


class CourseRow(NamedTuple):
    """`H#<courseId>#c`. `members` is the stored set as it stands, `completions` what it means."""

    course_id: str
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    members: frozenset[str]
    completions: Mapping[str, datetime]
    updated_at: datetime

    def superseded(self) -> frozenset[str]:
        """Members that say nothing because an earlier completion of the same content is known."""
        return self.members - frozenset(
            completion_member(content_id, moment) for content_id, moment in self.completions.items()
        )


class RecentRow(NamedTuple):
    """`H#<courseId>#r`."""

    course_id: str
    attempt: int
    resume: ResumePoint | None
    updated_at: datetime


class ContentRow(NamedTuple):
    """`P#<courseId>#<contentId>`."""

    content_id: str
    attempt: int
    content: ContentProgress
    updated_at: datetime


def course_key(user_id: str, course_id: str) -> Item:
    """The key of the course row."""
    return marshal({PARTITION: user_id, SORT: f"H#{course_id}#{_COURSE_ROW}"})


def recent_key(user_id: str, course_id: str) -> Item:
    """The key of the recent row."""
    return marshal({PARTITION: user_id, SORT: f"H#{course_id}#{_RECENT_ROW}"})


def content_key(user_id: str, course_id: str, content_id: str) -> Item:
    """The key of a content row."""
    return marshal({PARTITION: user_id, SORT: f"P#{course_id}#{content_id}"})


def outline_key(course_id: str) -> Item:
    """The key of an outline's row."""
    return marshal({PARTITION: _OUTLINE_PARTITION + course_id, SORT: _OUTLINE_SORT})


def heads_of(course_id: str) -> tuple[str, str]:
    """The sort keys between which the two head rows of a course lie, both included."""
    return f"H#{course_id}#{_COURSE_ROW}", f"H#{course_id}#{_RECENT_ROW}"


def contents_of(course_id: str) -> tuple[str, str]:
    """The sort keys between which the content rows of a course lie."""
    return f"P#{course_id}#", f"P#{course_id}#~"


def heads_after(course_id: str | None) -> tuple[str, str]:
    """The sort keys between which all head rows of the courses after this one lie."""
    return "H#" if course_id is None else f"H#{course_id}#~", "H#~"


def completion_member(content_id: str, moment: datetime) -> str:
    """How one completion stands in the set."""
    return f"{content_id}#{(moment - _EPOCH) // _MILLISECOND}"


def resume_ranking(resume: ResumePoint) -> dict[str, str | float]:
    """The attributes of a resume point in the order in which they decide which is later."""
    return {
        OCCURRED_AT: format_timestamp(resume.occurred_at),
        DEVICE_ID: resume.device_id,
        CONTENT_ID: resume.content_id,
        POSITION_SECONDS: resume.position_seconds,
    }


def position_ranking(position: Position) -> dict[str, str | float]:
    """The attributes of a position in the order in which they decide which is later."""
    return {
        OCCURRED_AT: format_timestamp(position.occurred_at),
        DEVICE_ID: position.device_id,
        POSITION_SECONDS: position.position_seconds,
    }


def outline_item(outline: Outline) -> Item:
    """The whole row of an outline."""
    described = marshal(
        {
            OUTLINE_VERSION: outline.version,
            "items": [
                {
                    CONTENT_ID: item.content_id,
                    "required": item.required,
                    "weight": item.weight,
                }
                for item in outline.items
            ],
        }
    )
    return {**outline_key(outline.course_id), **described}


def course_row(item: Item) -> CourseRow:
    """Read the course row. Raises CorruptProgressError."""
    usual = _usual_head(item)
    return usual if isinstance(usual, CourseRow) else _course_row(_Row(unmarshal(item)))


def _course_row(row: _Row) -> CourseRow:
    members = row.members(COMPLETED)
    return CourseRow(
        course_id=row.sort_part(1),
        attempt=row.integer(ATTEMPT),
        started_at=row.optional_moment(STARTED_AT),
        completed_at=row.optional_moment(COMPLETED_AT),
        members=members,
        completions=_completions(members),
        updated_at=row.moment(UPDATED_AT),
    )


def recent_row(item: Item) -> RecentRow:
    """Read the recent row. Raises CorruptProgressError."""
    usual = _usual_head(item)
    return usual if isinstance(usual, RecentRow) else _recent_row(_Row(unmarshal(item)))


def _recent_row(row: _Row) -> RecentRow:
    resume = None
    if row.has(OCCURRED_AT):
        resume = ResumePoint(
            row.moment(OCCURRED_AT),
            row.text(DEVICE_ID),
            row.text(CONTENT_ID),
            row.number(POSITION_SECONDS),
        )
    return RecentRow(row.sort_part(1), row.integer(ATTEMPT), resume, row.moment(UPDATED_AT))


def content_row(item: Item) -> ContentRow:
    """Read a content row. Raises CorruptProgressError."""
    return _usual_content(item) or _content_row(_Row(unmarshal(item)))


def _content_row(row: _Row) -> ContentRow:
    position = None
    if row.has(OCCURRED_AT):
        position = Position(
            row.moment(OCCURRED_AT), row.text(DEVICE_ID), row.number(POSITION_SECONDS)
        )
    return ContentRow(
        content_id=row.sort_part(2),
        attempt=row.integer(ATTEMPT),
        content=ContentProgress(
            fraction=row.number(FRACTION) if row.has(FRACTION) else None, position=position
        ),
        updated_at=row.moment(UPDATED_AT),
    )


def outline_row(item: Item) -> Outline:
    """Read an outline's row. Raises CorruptProgressError."""
    row = _Row(unmarshal(item))
    return Outline(
        course_id=row.text(PARTITION).removeprefix(_OUTLINE_PARTITION),
        version=row.integer(OUTLINE_VERSION),
        items=tuple(
            OutlineItem(entry.text(CONTENT_ID), entry.flag("required"), entry.number("weight"))
            for entry in row.entries("items")
        ),
    )


def head_rows(
    items: Iterable[Item],
) -> list[tuple[str, CourseRow | None, RecentRow | None]]:
    """Head rows in the order of their sort keys, brought together by course."""
    found: dict[str, tuple[CourseRow | None, RecentRow | None]] = {}
    for item in items:
        row = _usual_head(item) or _head(_Row(unmarshal(item)))
        if isinstance(row, CourseRow):
            found[row.course_id] = (row, None)
        else:
            found[row.course_id] = (found.get(row.course_id, (None, None))[0], row)
    return [(course_id, course, recent) for course_id, (course, recent) in found.items()]


def _head(row: _Row) -> CourseRow | RecentRow:
    is_course = row.text(SORT).endswith(f"#{_COURSE_ROW}")
    return _course_row(row) if is_course else _recent_row(row)


def _usual_head(item: Item) -> CourseRow | RecentRow | None:
    """A head row as it is written; None for one that is otherwise, be it right or wrong."""
    try:
        _, course_id, kind = item[SORT]["S"].split("#")
        attempt, updated_at = _usual_integer(item[ATTEMPT]["N"]), item[UPDATED_AT]["S"]
        attributes = _ATTRIBUTES_OF_ANY
        row: CourseRow | RecentRow
        if kind == _COURSE_ROW:
            started_at = completed_at = None
            members: frozenset[str] = frozenset()
            if STARTED_AT in item:
                attributes += 1
                started_at = parse_timestamp(item[STARTED_AT]["S"])
            if COMPLETED_AT in item:
                attributes += 1
                completed_at = parse_timestamp(item[COMPLETED_AT]["S"])
            if COMPLETED in item:
                attributes += 1
                members = frozenset(item[COMPLETED]["SS"])
            row = CourseRow(
                course_id,
                attempt,
                started_at,
                completed_at,
                members,
                Completions(_earliest(members)),
                parse_timestamp(updated_at),
            )
        elif kind == _RECENT_ROW:
            resume = None
            if OCCURRED_AT in item:
                attributes += len(RESUME_ATTRIBUTES)
                resume = ResumePoint(
                    parse_timestamp(item[OCCURRED_AT]["S"]),
                    _usual_text(item[DEVICE_ID]["S"]),
                    _usual_text(item[CONTENT_ID]["S"]),
                    _usual_number(item[POSITION_SECONDS]["N"]),
                )
            row = RecentRow(course_id, attempt, resume, parse_timestamp(updated_at))
        else:
            return None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return row if _is_whole(item, attributes) else None


def _usual_content(item: Item) -> ContentRow | None:
    """As `_usual_head`, a content row."""
    try:
        _, _, content_id = item[SORT]["S"].split("#")
        attributes = _ATTRIBUTES_OF_ANY
        fraction = position = None
        if FRACTION in item:
            attributes += 1
            fraction = _usual_number(item[FRACTION]["N"])
        if OCCURRED_AT in item:
            attributes += len(POSITION_ATTRIBUTES)
            position = Position(
                parse_timestamp(item[OCCURRED_AT]["S"]),
                _usual_text(item[DEVICE_ID]["S"]),
                _usual_number(item[POSITION_SECONDS]["N"]),
            )
        row = ContentRow(
            content_id,
            _usual_integer(item[ATTEMPT]["N"]),
            ContentProgress(fraction, position),
            parse_timestamp(item[UPDATED_AT]["S"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return row if _is_whole(item, attributes) else None


def _is_whole(item: Item, attributes: int) -> bool:
    """Whether there is nothing beside what was read, and nothing that is of two types."""
    return "S" in item.get(PARTITION, ()) and len(item) == attributes == sum(
        map(len, item.values())
    )


def _usual_integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise ValueError("not a whole number as it is written")
    return int(text)


def _usual_number(text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("not a number as it is written")
    return float(text)


def _usual_text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError("not a text")
    return text


def summary_of(course: CourseRow | None, recent: RecentRow | None) -> CourseSummary:
    """What the two head rows say together. Raises CorruptProgressError without a course row:
    it is written before any other row of a course."""
    if course is None:
        raise CorruptProgressError("every course with progress has a course row")
    current = recent if recent is not None and recent.attempt == course.attempt else None
    return CourseSummary(
        course_id=course.course_id,
        attempt=course.attempt,
        started_at=course.started_at,
        completed_at=course.completed_at,
        completions=course.completions,
        resume=None if current is None else current.resume,
        updated_at=latest_change(course, recent),
    )


def latest_change(course: CourseRow, recent: RecentRow | None) -> datetime:
    """When the head rows last changed in the course row's attempt."""
    if recent is None or recent.attempt != course.attempt:
        return course.updated_at
    return max(course.updated_at, recent.updated_at)


def _completions(members: frozenset[str]) -> Mapping[str, datetime]:
    try:
        return Completions(_earliest(members))
    except ValueError:
        raise CorruptProgressError("a completion ends in milliseconds since 1970") from None


def _earliest(members: frozenset[str]) -> dict[str, int]:
    """The earliest completion of each content, in milliseconds since 1970. Raises ValueError."""
    parts = [member.partition("#") for member in members]
    earliest = {content_id: int(milliseconds) for content_id, _, milliseconds in parts}
    if len(earliest) < len(parts):
        # Rare: a later completion came first.
        for content_id, _, milliseconds in parts:
            earliest[content_id] = min(earliest[content_id], int(milliseconds))
    return earliest


class Completions(Mapping[str, datetime]):
    """Contents and the moments of their completion, which become moments when one is asked for: a
    page of courses shows which contents were completed, and hardly ever when."""

    __slots__ = ("_milliseconds", "_moments")

    def __init__(self, milliseconds: dict[str, int]) -> None:
        """`milliseconds`: since 1970. Raises ValueError outside of the years 1 to 9999."""
        if milliseconds:
            moments = milliseconds.values()
            if min(moments) < _FIRST_MILLISECOND or max(moments) > _LAST_MILLISECOND:
                raise ValueError("outside of the years 1 to 9999")
        self._milliseconds = milliseconds
        self._moments: dict[str, datetime] | None = None

    def __getitem__(self, content_id: str) -> datetime:
        return self._all()[content_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._milliseconds)

    def __len__(self) -> int:
        return len(self._milliseconds)

    def keys(self) -> KeysView[str]:
        """A dictionary's own: it is compared with the contents of an outline."""
        return self._milliseconds.keys()

    def items(self) -> ItemsView[str, datetime]:
        """As a dictionary's."""
        return self._all().items()

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> dict[str, datetime]:
        if self._moments is None:
            self._moments = {
                content_id: _EPOCH + milliseconds * _MILLISECOND
                for content_id, milliseconds in self._milliseconds.items()
            }
        return self._moments


_Value = TypeVar("_Value")


class _Row:
    """Typed reads of a row's attributes; each raises CorruptProgressError for anything else."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str:
        return self._typed(name, str)

    def flag(self, name: str) -> bool:
        return self._typed(name, bool)

    def integer(self, name: str) -> int:
        return self._typed(name, int)

    def number(self, name: str) -> float:
        # The store does not tell 12.0 from 12; here a position or fraction is always a float.
        value = self._values.get(name)
        return float(value) if isinstance(value, int | float) else self._typed(name, float)

    def moment(self, name: str) -> datetime:
        try:
            return parse_timestamp(self.text(name))
        except ValueError:
            raise CorruptProgressError(f"{name} is a timestamp") from None

    def optional_moment(self, name: str) -> datetime | None:
        return self.moment(name) if self.has(name) else None

    def members(self, name: str) -> frozenset[str]:
        value = self._values.get(name, frozenset())
        if not isinstance(value, frozenset):
            raise CorruptProgressError(f"{name} is a set of strings")
        return frozenset(map(str, value))

    def entries(self, name: str) -> list[_Row]:
        entries: list[_Row] = []
        for entry in self._typed(name, list):
            if not isinstance(entry, dict):
                raise CorruptProgressError(f"{name} is a list of maps")
            entries.append(_Row(entry))
        return entries

    def sort_part(self, position: int) -> str:
        parts = self.text(SORT).split("#")
        if len(parts) <= position:
            raise CorruptProgressError("a sort key is made of parts joined by #")
        return parts[position]

    def _typed(self, name: str, kind: type[_Value]) -> _Value:
        value = self._values.get(name)
        if not isinstance(value, kind):
            raise CorruptProgressError(f"{name} is of type {kind.__name__}")
        return value
