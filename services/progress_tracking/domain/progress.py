"""A learner's progress in one course, and how two states of it become one.

Owns the merge. A recorded update is itself a small state (`changes`), and recording is joining it
to what is there (`join`). The join is commutative, associative and idempotent, a join-semilattice
(Shapiro et al., Conflict-free Replicated Data Types, 2011), so updates may arrive late, twice, in
any order and from many devices. It knows neither outlines nor storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

MAX_CONTENTS_PER_COURSE: Final = 4000
"""Distinct contents with recorded progress in one course; keeps every stored row bounded."""

MAX_POSITION_SECONDS: Final = 604_800.0
"""A week: longer than any content, small enough that a millisecond is exact."""

MAX_CLOCK_AHEAD: Final = timedelta(minutes=5)
"""How far a device's clock may run ahead before its updates are refused."""

FIRST_ATTEMPT: Final = 1

_POSITION_DIGITS: Final = 3
_FRACTION_DIGITS: Final = 6


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where in a content a device was.

    The order of the fields is the order of the states: the latest moment wins, then the device
    of the greater id, then the greater position, so that the winner never depends on arrival.
    """

    occurred_at: datetime
    device_id: str
    position_seconds: float


@dataclass(frozen=True, slots=True, order=True)
class ResumePoint:
    """Where to go on in a course. Ordered as `Position` is, the content's id before the place."""

    occurred_at: datetime
    device_id: str
    content_id: str
    position_seconds: float


@dataclass(frozen=True, slots=True)
class ContentProgress:
    """How far one content is: the greatest fraction (0 to 1) and the latest position."""

    fraction: float | None = None
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class CourseSummary:
    """Progress in one course without the places inside its contents.

    `completions` gives for each completed content the earliest moment it was completed.
    `completed_at` is the earliest moment at which the whole course was seen complete; it is never
    taken back. `updated_at` is the service's time of the last change, for synchronising devices;
    it takes no part in the merge of what was recorded.
    """

    course_id: str
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    completions: Mapping[str, datetime]
    resume: ResumePoint | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CourseProgress:
    """All progress in one course: the summary and each content's own state."""

    summary: CourseSummary
    contents: Mapping[str, ContentProgress]

    def content_ids(self) -> frozenset[str]:
        """Every content with anything recorded."""
        return frozenset(self.contents) | frozenset(self.summary.completions)


@dataclass(frozen=True, slots=True)
class ItemUpdate:
    """What a device recorded of one content. Absent parts (False, None) say nothing."""

    content_id: str
    occurred_at: datetime
    completed: bool = False
    fraction: float | None = None
    position_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """What a device recorded of one course. `attempt` None means whichever is current.

    `resume_content_id` and `resume_position_seconds` are given together or not at all.
    """

    occurred_at: datetime
    device_id: str
    attempt: int | None = None
    resume_content_id: str | None = None
    resume_position_seconds: float = 0.0
    items: tuple[ItemUpdate, ...] = field(default=())


def to_milliseconds(moment: datetime) -> datetime:
    """The moment in UTC, cut to the milliseconds that are shown and stored."""
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def exact_position(seconds: float) -> float:
    """The position to the millisecond. Rounding is monotonic: it never changes which is greater."""
    # Adding 0.0 turns the negative zero, which JSON can carry, into zero.
    return round(float(seconds), _POSITION_DIGITS) + 0.0


def exact_fraction(fraction: float) -> float:
    """The fraction to a millionth. Finer digits could not all be stored and mean nothing."""
    return round(float(fraction), _FRACTION_DIGITS) + 0.0


def changes(
    update: ProgressUpdate, *, course_id: str, attempt: int, at: datetime
) -> CourseProgress:
    """The state that consists of this update alone, recorded into `attempt` at `at`."""
    occurred_at = to_milliseconds(update.occurred_at)
    resume = None
    if update.resume_content_id is not None:
        resume = ResumePoint(
            occurred_at,
            update.device_id,
            update.resume_content_id,
            exact_position(update.resume_position_seconds),
        )
    completions: dict[str, datetime] = {}
    contents: dict[str, ContentProgress] = {}
    started_at = occurred_at
    for item in update.items:
        moment = to_milliseconds(item.occurred_at)
        started_at = min(started_at, moment)
        if item.completed:
            completions[item.content_id] = moment
        content = _content(item, moment, update.device_id)
        if content != ContentProgress():
            contents[item.content_id] = content
    summary = CourseSummary(
        course_id=course_id,
        attempt=attempt,
        started_at=started_at,
        completed_at=None,
        completions=completions,
        resume=resume,
        updated_at=to_milliseconds(at),
    )
    return CourseProgress(summary, contents)


def join(one: CourseProgress, other: CourseProgress) -> CourseProgress:
    """The least state that holds everything both hold.

    A later attempt replaces an earlier one as a whole. Within an attempt: completed is OR (with
    the earliest moment), fraction is the maximum, position and resume point are the latest,
    `started_at` and `completed_at` the earliest. Raises ValueError for two courses.
    """
    summary = join_summaries(one.summary, other.summary)
    if one.summary.attempt != other.summary.attempt:
        later = one if one.summary.attempt > other.summary.attempt else other
        return replace(later, summary=summary)
    contents = dict(one.contents)
    for content_id, content in other.contents.items():
        contents[content_id] = join_contents(contents.get(content_id), content)
    return CourseProgress(summary, contents)


def join_summaries(one: CourseSummary, other: CourseSummary) -> CourseSummary:
    """`join` for summaries."""
    if one.course_id != other.course_id:
        raise ValueError("progress in different courses cannot be merged")
    updated_at = max(one.updated_at, other.updated_at)
    if one.attempt != other.attempt:
        return replace(one if one.attempt > other.attempt else other, updated_at=updated_at)
    completions = dict(one.completions)
    for content_id, moment in other.completions.items():
        completions[content_id] = min(completions.get(content_id, moment), moment)
    return CourseSummary(
        course_id=one.course_id,
        attempt=one.attempt,
        started_at=_least(one.started_at, other.started_at),
        completed_at=_least(one.completed_at, other.completed_at),
        completions=completions,
        resume=_greatest(one.resume, other.resume),
        updated_at=updated_at,
    )


def join_contents(one: ContentProgress | None, other: ContentProgress) -> ContentProgress:
    """`join` for the state of one content; None is the state of a content never touched."""
    if one is None:
        return other
    return ContentProgress(
        fraction=_greatest(one.fraction, other.fraction),
        position=_greatest(one.position, other.position),
    )


def same_record(one: CourseProgress, other: CourseProgress) -> bool:
    """Whether both hold the same recorded facts; the service's own `updated_at` is not one."""
    return one.contents == other.contents and one.summary == replace(
        other.summary, updated_at=one.summary.updated_at
    )


def blank(course_id: str, *, attempt: int, at: datetime) -> CourseProgress:
    """An attempt in which nothing has been recorded yet."""
    summary = CourseSummary(
        course_id=course_id,
        attempt=attempt,
        started_at=None,
        completed_at=None,
        completions={},
        resume=None,
        updated_at=to_milliseconds(at),
    )
    return CourseProgress(summary, {})


def _content(item: ItemUpdate, moment: datetime, device_id: str) -> ContentProgress:
    position = None
    if item.position_seconds is not None:
        position = Position(moment, device_id, exact_position(item.position_seconds))
    fraction = None if item.fraction is None else exact_fraction(item.fraction)
    return ContentProgress(fraction=fraction, position=position)


_Ordered = TypeVar("_Ordered", datetime, float, Position, ResumePoint)


def _present(values: Iterable[_Ordered | None]) -> list[_Ordered]:
    return [value for value in values if value is not None]


def _least(one: _Ordered | None, other: _Ordered | None) -> _Ordered | None:
    return min(_present((one, other)), default=None)


def _greatest(one: _Ordered | None, other: _Ordered | None) -> _Ordered | None:
    return max(_present((one, other)), default=None)
