"""What is still wanted of a row, as one conditional write, or None once nothing is.

Each function takes the row as it was last seen and gives the write that makes it hold what is
wanted. Every write is conditional on the row still being of the same attempt and on each value
really making the row greater, so that whichever of two concurrent writers comes second loses
nothing. Pure functions: no table is touched here.
"""

from __future__ import annotations

from datetime import datetime

from libs.timestamps import format_timestamp
from services.progress_tracking.domain.outline import Outline, settle
from services.progress_tracking.domain.progress import (
    MAX_CONTENTS_PER_COURSE,
    ContentProgress,
    CourseSummary,
    join_contents,
    join_summaries,
    to_milliseconds,
)
from services.progress_tracking.domain.recording import require_room
from services.progress_tracking.storage import rows
from services.progress_tracking.storage.rows import ContentRow, CourseRow, RecentRow
from services.progress_tracking.storage.update import ConditionalUpdate


def plan_course_row(
    row: CourseRow | None, wanted: CourseSummary, outline: Outline | None
) -> ConditionalUpdate | None:
    """Starts, completions and completeness. Raises TooManyContentsError."""
    write = ConditionalUpdate()
    if row is None:
        _describe_new_course(write, settle(wanted, outline))
        return write
    if row.attempt != wanted.attempt:
        return None
    if superseded := row.superseded():
        # Safe at any time: the earlier completion that supersedes them is in the set for good.
        write.require_equal(rows.ATTEMPT, row.attempt)
        write.delete_from_set(rows.COMPLETED, superseded)
        return write

    before = rows.summary_of(row, None)
    after = settle(join_summaries(before, wanted), outline)
    known = frozenset(before.completions)
    require_room(known, frozenset(after.completions))
    earlier = {
        content_id: moment
        for content_id, moment in after.completions.items()
        if before.completions.get(content_id) != moment
    }
    if not earlier and (before.started_at, before.completed_at) == (
        after.started_at,
        after.completed_at,
    ):
        return None
    write.require_equal(rows.ATTEMPT, row.attempt)
    write.set(rows.UPDATED_AT, format_timestamp(max(row.updated_at, wanted.updated_at)))
    if after.started_at is not None and after.started_at != before.started_at:
        _lower(write, rows.STARTED_AT, after.started_at)
    if after.completed_at is not None and after.completed_at != before.completed_at:
        _lower(write, rows.COMPLETED_AT, after.completed_at)
    if earlier:
        write.add_to_set(rows.COMPLETED, _members(earlier))
        if added := len(earlier.keys() - known):
            # The bound holds under concurrency too: a row that outgrew 400 KB would take nothing.
            write.require_absent_or_smaller(rows.COMPLETED, MAX_CONTENTS_PER_COURSE - added)
    return write


def plan_completion(
    summary: CourseSummary, completed_at: datetime, at: datetime
) -> ConditionalUpdate:
    """Completeness alone, as a later outline shows it. Whatever makes this fail is as good: an
    earlier completion, or the end of the attempt."""
    write = ConditionalUpdate()
    write.require_equal(rows.ATTEMPT, summary.attempt)
    write.set(rows.UPDATED_AT, format_timestamp(max(summary.updated_at, to_milliseconds(at))))
    _lower(write, rows.COMPLETED_AT, completed_at)
    return write


def plan_content_row(
    row: ContentRow | None, wanted: ContentProgress, summary: CourseSummary
) -> ConditionalUpdate | None:
    """Fraction and position of one content, recorded into the attempt of `summary`."""
    same = row if row is not None and row.attempt == summary.attempt else None
    before = ContentProgress() if same is None else same.content
    after = join_contents(before, wanted)
    if after == before:
        return None
    write = ConditionalUpdate()
    if not _begin(write, None if row is None else row.attempt, summary.attempt):
        return None
    updated_at = summary.updated_at if same is None else max(same.updated_at, summary.updated_at)
    write.set(rows.UPDATED_AT, format_timestamp(updated_at))
    replaces = row is not None and same is None
    if after.fraction is not None and after.fraction != before.fraction:
        write.set(rows.FRACTION, after.fraction)
        if same is not None:
            write.require_absent_or_less(rows.FRACTION, after.fraction)
    elif replaces:
        write.remove(rows.FRACTION)
    if after.position is not None and after.position != before.position:
        ranking = rows.position_ranking(after.position)
        for attribute, value in ranking.items():
            write.set(attribute, value)
        if same is not None:
            write.require_absent_or_before(ranking)
    elif replaces:
        for attribute in rows.POSITION_ATTRIBUTES:
            write.remove(attribute)
    return write


def plan_recent_row(
    row: RecentRow | None, course: CourseRow, wanted: CourseSummary, newest: datetime
) -> ConditionalUpdate | None:
    """The resume point, and the time of the last change: `newest` is that of the content rows."""
    same = row if row is not None and row.attempt == course.attempt else None
    changed_at = rows.latest_change(course, same)
    resume = wanted.resume
    if resume is not None and same is not None and same.resume is not None:
        resume = resume if resume > same.resume else None
    if resume is None and newest <= changed_at:
        return None
    write = ConditionalUpdate()
    if not _begin(write, None if row is None else row.attempt, course.attempt):
        return None
    if resume is not None:
        updated_at = max(newest, wanted.updated_at, changed_at)
        ranking = rows.resume_ranking(resume)
        for attribute, value in ranking.items():
            write.set(attribute, value)
        if same is not None:
            write.require_absent_or_before(ranking)
    else:
        updated_at = newest
        if same is not None:
            write.require_absent_or_less(rows.UPDATED_AT, format_timestamp(updated_at))
        elif row is not None:
            for attribute in rows.RESUME_ATTRIBUTES:
                write.remove(attribute)
    write.set(rows.UPDATED_AT, format_timestamp(updated_at))
    return write


def _begin(write: ConditionalUpdate, stored: int | None, attempt: int) -> bool:
    """Bind the write to what was seen: no row, a row of an earlier attempt, or one of this.

    False when the row is of a later attempt: then there is nothing to write.
    """
    if stored is not None and stored > attempt:
        return False
    if stored is None:
        write.require_absent(rows.ATTEMPT)
    elif stored < attempt:
        write.require_less(rows.ATTEMPT, attempt)
    else:
        write.require_equal(rows.ATTEMPT, attempt)
    if stored != attempt:
        write.set(rows.ATTEMPT, attempt)
    return True


def _describe_new_course(write: ConditionalUpdate, summary: CourseSummary) -> None:
    write.require_absent(rows.ATTEMPT)
    write.set(rows.ATTEMPT, summary.attempt)
    write.set(rows.UPDATED_AT, format_timestamp(summary.updated_at))
    if summary.started_at is not None:
        write.set(rows.STARTED_AT, format_timestamp(summary.started_at))
    if summary.completed_at is not None:
        write.set(rows.COMPLETED_AT, format_timestamp(summary.completed_at))
    if summary.completions:
        write.add_to_set(rows.COMPLETED, _members(dict(summary.completions)))


def _lower(write: ConditionalUpdate, attribute: str, moment: datetime) -> None:
    stamp = format_timestamp(moment)
    write.set(attribute, stamp)
    write.require_absent_or_greater(attribute, stamp)


def _members(completions: dict[str, datetime]) -> list[str]:
    return sorted(rows.completion_member(*completion) for completion in completions.items())
