"""The answers about progress as JSON, written in one go, without a document between.

Owns how they are spelt. What they say is `schemas`': a test holds each to what `encode_json` makes
of its document there. A page of courses has some three hundred members, so the way through a
dictionary for each course cost more than the page's rows.
"""

from __future__ import annotations

import math
from datetime import datetime
from json.encoder import encode_basestring as _text

from libs.http import encode_json
from libs.timestamps import format_timestamp
from services.progress_tracking.domain.progress import ContentProgress, ResumePoint
from services.progress_tracking.domain.tracking import CoursePage, CourseView, DetailedView


def page_json(user_id: str, page: CoursePage, next_cursor: str | None) -> bytes:
    """`page_document`, encoded. Raises ValueError as `encode_json` does."""
    courses = ",".join([f"{{{_course(view)}}}" for view in page.courses])
    cursor = "null" if next_cursor is None else _text(next_cursor)
    return f'{{"userId":{_text(user_id)},"items":[{courses}],"nextCursor":{cursor}}}'.encode()


def course_json(user_id: str, view: DetailedView) -> bytes:
    """`course_document`, encoded. Raises ValueError as `encode_json` does."""
    completions, contents = view.course.summary.completions, view.contents
    items = ",".join(
        [
            f"{_text(content_id)}:{_content(completions.get(content_id), contents.get(content_id))}"
            for content_id in sorted(completions.keys() | contents.keys())
        ]
    )
    return f'{{"userId":{_text(user_id)},{_course(view.course)},"items":{{{items}}}}}'.encode()


def _course(view: CourseView) -> str:
    """The members of a course."""
    summary, standing = view
    return (
        f'"courseId":{_text(summary.course_id)},"status":"{standing.status.value}",'
        f'"percent":{_whole(standing.percent)},"completedCount":{standing.completed_count},'
        f'"totalCount":{_whole(standing.total_count)},'
        f'"outlineVersion":{_whole(standing.outline_version)},'
        f'"newItemsSinceCompletion":{_whole(standing.new_items_since_completion)},'
        f'"resume":{_resume(summary.resume)},"startedAt":{_moment(summary.started_at)},'
        f'"completedAt":{_moment(summary.completed_at)},'
        f'"updatedAt":"{format_timestamp(summary.updated_at)}","attempt":{summary.attempt}'
    )


def _resume(resume: ResumePoint | None) -> str:
    if resume is None:
        return "null"
    return (
        f'{{"contentId":{_text(resume.content_id)},'
        f'"positionSeconds":{_number(resume.position_seconds)},'
        f'"occurredAt":"{format_timestamp(resume.occurred_at)}"}}'
    )


def _content(completed_at: datetime | None, content: ContentProgress | None) -> str:
    fraction = None if content is None else content.fraction
    position = None if content is None else content.position
    return (
        f'{{"completed":{"false" if completed_at is None else "true"},'
        f'"completedAt":{_moment(completed_at)},'
        f'"fraction":{"null" if fraction is None else _number(fraction)},'
        f'"positionSeconds":{"null" if position is None else _number(position.position_seconds)},'
        f'"occurredAt":{_moment(None if position is None else position.occurred_at)}}}'
    )


def _moment(moment: datetime | None) -> str:
    return "null" if moment is None else f'"{format_timestamp(moment)}"'


def _whole(number: int | None) -> str | int:
    return "null" if number is None else number


def _number(value: float) -> str:
    if value.is_integer():
        return str(int(value))
    # What JSON has no number for is refused in the words of all other answers.
    return repr(value) if math.isfinite(value) else encode_json(value).decode()
