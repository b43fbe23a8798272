"""What a client sends to progress tracking and what it gets, as `openapi.yaml` promises it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from libs.http import DecimalInteger, Identifier, Schema, UtcTimestamp
from libs.timestamps import Clock, format_timestamp
from services.progress_tracking.domain.outline import Status
from services.progress_tracking.domain.progress import (
    MAX_CLOCK_AHEAD,
    MAX_POSITION_SECONDS,
    ContentProgress,
    ItemUpdate,
    ProgressUpdate,
    ResumePoint,
)
from services.progress_tracking.domain.tracking import (
    BatchEntry,
    CourseFilter,
    CoursePage,
    CourseView,
    DetailedView,
    RecordedView,
)

DEFAULT_PAGE = 50
MAX_PAGE = 100
MAX_ITEMS = 100
MAX_ENTRIES = 25
MAX_CONTENTS_IN_A_BATCH_ANSWER = 20_000
"""Some three megabytes; API Gateway passes on ten."""

BATCH = "batch"
"""The name under /progress/{userId}/ that is no course's."""

_MAX_ATTEMPT = 2_147_483_647


class NoQuery(Schema):
    """An operation that takes no query parameter."""


class RestartQuery(Schema):
    """The query of `DELETE /progress/{userId}/{courseId}`."""

    attempt: Annotated[DecimalInteger, Field(ge=1, le=_MAX_ATTEMPT)] | None = None


class ListQuery(Schema):
    """The query of `GET /progress/{userId}`."""

    limit: Annotated[DecimalInteger, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    cursor: Annotated[str, Field(min_length=1)] | None = None
    status: Literal["not_started", "in_progress", "completed"] | None = None
    updated_since: UtcTimestamp | None = None

    def chosen(self) -> CourseFilter:
        """The filter of the domain."""
        status = None if self.status is None else Status(self.status)
        return CourseFilter(status=status, updated_since=self.updated_since)

    def binding(self, user_id: str) -> Mapping[str, object]:
        """What a cursor of this listing is good for: this user and these filters."""
        since = None if self.updated_since is None else self.updated_since.isoformat()
        return {"userId": user_id, "status": self.status, "updatedSince": since}


def _given(value: object) -> object:
    # An absent member says nothing; what null would say is nobody's guess.
    if value is None:
        raise ValueError("must not be null; leave it out")
    return value


_Given = BeforeValidator(_given)
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Position = Annotated[float, Field(ge=0, le=MAX_POSITION_SECONDS)]


class ResumeBody(Schema):
    """Where the device is in the course."""

    content_id: Identifier
    position_seconds: _Position


class ItemBody(Schema):
    """What the device did in one content."""

    completed: bool = False
    fraction: Annotated[_Fraction | None, _Given] = None
    position_seconds: Annotated[_Position | None, _Given] = None
    occurred_at: Annotated[UtcTimestamp | None, _Given] = None


class UpdateBody(Schema):
    """The body of `PUT /progress/{userId}/{courseId}`."""

    occurred_at: UtcTimestamp
    device_id: Identifier
    attempt: Annotated[int | None, Field(ge=1, le=_MAX_ATTEMPT), _Given] = None
    resume: Annotated[ResumeBody | None, _Given] = None
    items: Annotated[Mapping[Identifier, ItemBody], Field(max_length=MAX_ITEMS)] = Field(
        default_factory=dict
    )

    def update(self) -> ProgressUpdate:
        """The update of the domain."""
        return ProgressUpdate(
            occurred_at=self.occurred_at,
            device_id=self.device_id,
            attempt=self.attempt,
            resume_content_id=None if self.resume is None else self.resume.content_id,
            resume_position_seconds=0.0 if self.resume is None else self.resume.position_seconds,
            items=tuple(
                ItemUpdate(
                    content_id=content_id,
                    occurred_at=item.occurred_at or self.occurred_at,
                    completed=item.completed,
                    fraction=item.fraction,
                    position_seconds=item.position_seconds,
                )
                for content_id, item in self.items.items()
            ),
        )


class BatchBody(Schema):
    """The body of `POST /progress/{userId}/batch`, whose entries are judged one by one."""

    entries: Annotated[list[object], Field(min_length=1, max_length=MAX_ENTRIES)]


class EntryBody(UpdateBody):
    """One entry of a batch: the body of a PUT, and the course that would be in its path."""

    course_id: Identifier

    @field_validator("course_id")
    @classmethod
    def _is_a_course(cls, value: str) -> str:
        if value == BATCH:
            raise ValueError("is no course's id")
        return value

    def entry(self) -> BatchEntry:
        """The entry of the domain."""
        return BatchEntry(self.course_id, self.update())


def timely_bodies(clock: Clock) -> tuple[type[UpdateBody], type[EntryBody]]:
    """`UpdateBody` and `EntryBody`, refusing moments too far ahead of `clock` together with all
    other errors."""

    def not_ahead(value: datetime | None) -> datetime | None:
        if value is not None and value - clock() > MAX_CLOCK_AHEAD:
            minutes = MAX_CLOCK_AHEAD // timedelta(minutes=1)
            raise ValueError(
                f"must not be more than {minutes} minutes ahead of the service's clock"
            )
        return value

    class TimelyItemBody(ItemBody):
        _timely = field_validator("occurred_at")(not_ahead)

    class TimelyUpdateBody(UpdateBody):
        _timely = field_validator("occurred_at")(not_ahead)

        items: Annotated[Mapping[Identifier, TimelyItemBody], Field(max_length=MAX_ITEMS)] = Field(
            default_factory=dict
        )

    class TimelyEntryBody(TimelyUpdateBody, EntryBody):
        pass

    return TimelyUpdateBody, TimelyEntryBody


def page_document(user_id: str, page: CoursePage, next_cursor: str | None) -> dict[str, object]:
    """The answer of `GET /progress/{userId}`."""
    return {
        "userId": user_id,
        "items": [_course(view) for view in page.courses],
        "nextCursor": next_cursor,
    }


def course_document(user_id: str, view: DetailedView) -> dict[str, object]:
    """The answer of `GET`, `PUT` and `DELETE /progress/{userId}/{courseId}`."""
    completions = view.course.summary.completions
    return {
        "userId": user_id,
        **_course(view.course),
        "items": {
            content_id: _content(completions.get(content_id), view.contents.get(content_id))
            for content_id in sorted(_content_ids(view))
        },
    }


def batch_document(
    user_id: str,
    results: Sequence[RecordedView | Mapping[str, object]],
    course_ids: Sequence[str | None],
) -> dict[str, object]:
    """The answer of `POST /progress/{userId}/batch`: what was recorded, and the members of each
    result that failed."""
    shown = 0
    documents: list[dict[str, object]] = []
    for course_id, result in zip(course_ids, results, strict=True):
        document: dict[str, object] = {} if course_id is None else {"courseId": course_id}
        if isinstance(result, RecordedView):
            document["status"] = 201 if result.created else 200
            shown += len(_content_ids(result.progress))
            if shown <= MAX_CONTENTS_IN_A_BATCH_ANSWER:
                document["progress"] = course_document(user_id, result.progress)
        else:
            document |= result
        documents.append(document)
    return {"userId": user_id, "results": documents}


def _content_ids(view: DetailedView) -> set[str]:
    return view.course.summary.completions.keys() | view.contents.keys()


def _course(view: CourseView) -> dict[str, object]:
    summary, standing = view.summary, view.standing
    return {
        "courseId": summary.course_id,
        "status": standing.status.value,
        "percent": standing.percent,
        "completedCount": standing.completed_count,
        "totalCount": standing.total_count,
        "outlineVersion": standing.outline_version,
        "newItemsSinceCompletion": standing.new_items_since_completion,
        "resume": _resume(summary.resume),
        "startedAt": _timestamp(summary.started_at),
        "completedAt": _timestamp(summary.completed_at),
        "updatedAt": format_timestamp(summary.updated_at),
        "attempt": summary.attempt,
    }


def _resume(resume: ResumePoint | None) -> dict[str, object] | None:
    if resume is None:
        return None
    return {
        "contentId": resume.content_id,
        "positionSeconds": _number(resume.position_seconds),
        "occurredAt": format_timestamp(resume.occurred_at),
    }


def _content(completed_at: datetime | None, content: ContentProgress | None) -> dict[str, object]:
    fraction = None if content is None else content.fraction
    position = None if content is None else content.position
    return {
        "completed": completed_at is not None,
        "completedAt": _timestamp(completed_at),
        "fraction": None if fraction is None else _number(fraction),
        "positionSeconds": None if position is None else _number(position.position_seconds),
        "occurredAt": None if position is None else format_timestamp(position.occurred_at),
    }


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)


def _number(value: float) -> int | float:
    """62 and not 62.0: shorter, and what JavaScript would write."""
    return int(value) if value.is_integer() else value
