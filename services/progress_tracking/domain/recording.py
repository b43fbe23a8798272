"""What recording an update means, without a store: the reference every repository must agree with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.progress_tracking.domain.errors import (
    AttemptNotStartedError,
    TooManyContentsError,
)
from services.progress_tracking.domain.outline import Outline, settle
from services.progress_tracking.domain.progress import (
    FIRST_ATTEMPT,
    MAX_CONTENTS_PER_COURSE,
    CourseProgress,
    ProgressUpdate,
    blank,
    changes,
    join,
    same_record,
    to_milliseconds,
)


def attempt_of(update: ProgressUpdate, *, current: int | None) -> int | None:
    """The attempt that the update is recorded into, None when that attempt is over.

    `current` None means that the course was never started. An update without an attempt belongs to
    the current one. Raises AttemptNotStartedError.
    """
    present = FIRST_ATTEMPT if current is None else current
    if update.attempt is None:
        return present
    if update.attempt > present:
        raise AttemptNotStartedError(present)
    return present if update.attempt == present else None


def recorded(
    current: CourseProgress | None,
    update: ProgressUpdate,
    *,
    course_id: str,
    outline: Outline | None,
    at: datetime,
) -> CourseProgress:
    """`current` joined with the update and judged by the outline.

    It is `current` itself when the update adds nothing. Raises AttemptNotStartedError,
    TooManyContentsError.
    """
    attempt = attempt_of(update, current=None if current is None else current.summary.attempt)
    if current is not None and attempt is None:
        return current
    before = current or blank(course_id, attempt=FIRST_ATTEMPT, at=at)
    joined = join(
        before, changes(update, course_id=course_id, attempt=before.summary.attempt, at=at)
    )
    require_room(before.content_ids(), joined.content_ids())
    after = replace(joined, summary=settle(joined.summary, outline))
    if current is not None and same_record(after, current):
        return current
    updated_at = max(before.summary.updated_at, to_milliseconds(at))
    return replace(after, summary=replace(after.summary, updated_at=updated_at))


def require_room(before: frozenset[str], after: frozenset[str]) -> None:
    """Raise TooManyContentsError when contents are added beyond what one course may hold."""
    if len(after) > MAX_CONTENTS_PER_COURSE and len(after) > len(before):
        raise TooManyContentsError
