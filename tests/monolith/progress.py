"""Progress as the monolith keeps it: all of a user's course in one item, `USER#<id>`/`PROGRESS#<course>`.

| attribute | |
|---|---|
| `attempt` | 1 where an old item has none |
| `startedAt`, `completedAt`, `updatedAt` | moments |
| `completed` | content to moment, or to the set of moments that devices told; in old items a set of contents, completed when the item was last changed |
| `resume` | `contentId`, `positionSeconds`, `deviceId`, `occurredAt` |
| `places` | content to `fraction`, `positionSeconds`, `deviceId`, `occurredAt` |
| `rev` | counts changes; old items have none until their next one |

What came back from the service's table has `attempt` and `updatedAt` in `resume` and in each place too; a
place of an earlier attempt counts as absent. Everything is read, merged and written whole, on the
condition that `rev` is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from libs.aws import DependencyUnavailable, marshal, unmarshal
from libs.timestamps import format_timestamp, parse_timestamp
from services.course_catalog.storage.items import item_size
from services.progress_tracking.domain.errors import CorruptProgressError, TooManyContentsError
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import (
    FIRST_ATTEMPT,
    ContentProgress,
    CourseProgress,
    CourseSummary,
    Position,
    ProgressUpdate,
    ResumePoint,
    blank,
    to_milliseconds,
)
from services.progress_tracking.domain.recording import recorded
from services.progress_tracking.domain.repository import Recorded, SummaryPage
from tests.monolith.moments import UNKNOWN
from tests.monolith.table import (
    ABSENT,
    SORT,
    AttributeValue,
    Expected,
    Item,
    Key,
    NotAsExpectedError,
    Put,
    Table,
)

USER: Final = "USER#"
PROGRESS: Final = "PROGRESS#"

_MOST_BYTES: Final = 400 * 1024 - 200
"""An item has 400 KB at most; the rest is for what a migration adds."""
_ROUNDS: Final = 64


def progress_key(user_id: str, course_id: str) -> Key:
    """Where a user's progress in a course is kept."""
    return Key(f"{USER}{user_id}", f"{PROGRESS}{course_id}")


def progress_item(user_id: str, progress: CourseProgress, *, rev: int) -> Item:
    """Progress as it is kept. Raises TooManyContentsError where no item would hold it."""
    summary = progress.summary
    values: dict[str, Any] = {
        "attempt": summary.attempt,
        "updatedAt": format_timestamp(summary.updated_at),
        "rev": rev,
    }
    if summary.started_at is not None:
        values["startedAt"] = format_timestamp(summary.started_at)
    if summary.completed_at is not None:
        values["completedAt"] = format_timestamp(summary.completed_at)
    if summary.completions:
        values["completed"] = {
            content_id: format_timestamp(at) for content_id, at in summary.completions.items()
        }
    if summary.resume is not None:
        values["resume"] = {
            "contentId": summary.resume.content_id,
            **_where(summary.resume),
        }
    if progress.contents:
        values["places"] = {
            content_id: {
                **({} if content.fraction is None else {"fraction": content.fraction}),
                **({} if content.position is None else _where(content.position)),
            }
            for content_id, content in progress.contents.items()
        }
    item = {**progress_key(user_id, summary.course_id).item(), **marshal(values)}
    if item_size(item) > _MOST_BYTES:
        raise TooManyContentsError
    return item


def progress_of(item: Item) -> CourseProgress:
    """The progress of an item. Raises CorruptProgressError."""
    try:
        return _progress_of(unmarshal(item))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptProgressError(f"not a user's progress: {error!r}") from error


@dataclass(frozen=True)
class _Seen:
    """What stood there: the progress, None where there was none, and what a write must find."""

    progress: CourseProgress | None
    rev: int
    expected: Expected


class LegacyProgress:
    """Users' progress over the one table: a `ProgressRepository`, but for the outlines, which are
    the catalog module's."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        """As `ProgressRepository.read`."""
        return (await self._see(user_id, course_id)).progress

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        """As `ProgressRepository.record`."""
        for _ in range(_ROUNDS):
            seen = await self._see(user_id, course_id)
            current = seen.progress
            after = recorded(current, update, course_id=course_id, outline=outline, at=at)
            if after is current or await self._write(user_id, after, seen):
                return Recorded(after, created=current is None)
        raise _contended("record")

    async def keep_completion(
        self, user_id: str, summary: CourseSummary, *, at: datetime
    ) -> CourseSummary:
        """As `ProgressRepository.keep_completion`."""
        if summary.completed_at is None:
            return summary
        for _ in range(_ROUNDS):
            seen = await self._see(user_id, summary.course_id)
            if seen.progress is None:
                raise CorruptProgressError("progress is never deleted")
            kept = seen.progress.summary
            if kept.attempt != summary.attempt:
                return summary
            if kept.completed_at is None or summary.completed_at < kept.completed_at:
                kept = replace(
                    kept,
                    completed_at=summary.completed_at,
                    updated_at=max(to_milliseconds(at), kept.updated_at),
                )
                if not await self._write(user_id, replace(seen.progress, summary=kept), seen):
                    continue
            return replace(summary, completed_at=kept.completed_at, updated_at=kept.updated_at)
        raise _contended("keep_completion")

    async def start_attempt(
        self, user_id: str, course_id: str, *, following: int, at: datetime
    ) -> CourseProgress | None:
        """As `ProgressRepository.start_attempt`."""
        for _ in range(_ROUNDS):
            seen = await self._see(user_id, course_id)
            current = seen.progress
            if current is None or current.summary.attempt != following:
                return current
            begun_at = max(to_milliseconds(at), current.summary.updated_at)
            begun = blank(course_id, attempt=following + 1, at=begun_at)
            if await self._write(user_id, begun, seen):
                return begun
        raise _contended("start_attempt")

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        """As `ProgressRepository.list_summaries`."""
        # `!` is before and `~` is behind every character of an id.
        lowest = PROGRESS if after is None else f"{PROGRESS}{after}!"
        page = await self._table.between(f"{USER}{user_id}", lowest, f"{PROGRESS}~", limit=limit)
        return SummaryPage(tuple(progress_of(item).summary for item in page.items), page.more)

    async def _see(self, user_id: str, course_id: str) -> _Seen:
        item = await self._table.get(progress_key(user_id, course_id))
        if item is None:
            return _Seen(None, 0, ABSENT)
        rev: AttributeValue | None = item.get("rev")
        # Old items count no changes: they are as they were if they still do not.
        return _Seen(progress_of(item), int(rev["N"]) if rev else 0, {"rev": (rev,)})

    async def _write(self, user_id: str, progress: CourseProgress, seen: _Seen) -> bool:
        try:
            await self._table.write(
                Put(progress_item(user_id, progress, rev=seen.rev + 1), seen.expected)
            )
        except NotAsExpectedError:
            return False
        return True


def _contended(operation: str) -> DependencyUnavailable:
    return DependencyUnavailable("dynamodb", operation, reason="contended")


def _where(point: Position | ResumePoint) -> dict[str, Any]:
    return {
        "occurredAt": format_timestamp(point.occurred_at),
        "deviceId": point.device_id,
        "positionSeconds": point.position_seconds,
    }


def _progress_of(values: Mapping[str, Any]) -> CourseProgress:
    attempt = int(values.get("attempt", FIRST_ATTEMPT))
    changed_at = values.get("updatedAt", values.get("startedAt", UNKNOWN))
    updated_at = parse_timestamp(changed_at)
    resume: Mapping[str, Any] = values.get("resume", {})
    if resume.get("attempt", attempt) != attempt:
        resume = {}
    if "updatedAt" in resume:
        updated_at = max(updated_at, parse_timestamp(resume["updatedAt"]))
    summary = CourseSummary(
        course_id=str(values[SORT]).removeprefix(PROGRESS),
        attempt=attempt,
        started_at=_optional(values.get("startedAt")),
        completed_at=_optional(values.get("completedAt")),
        completions=_completions(values.get("completed", {}), changed_at),
        resume=ResumePoint(
            parse_timestamp(resume["occurredAt"]),
            resume["deviceId"],
            resume["contentId"],
            float(resume["positionSeconds"]),
        )
        if "occurredAt" in resume
        else None,
        updated_at=updated_at,
    )
    places = {
        content_id: _place(place)
        for content_id, place in values.get("places", {}).items()
        if place.get("attempt", attempt) == attempt
    }
    return CourseProgress(summary, places)


def _place(place: Mapping[str, Any]) -> ContentProgress:
    position = None
    if "occurredAt" in place:
        position = Position(
            parse_timestamp(place["occurredAt"]),
            place["deviceId"],
            float(place["positionSeconds"]),
        )
    fraction = place.get("fraction")
    return ContentProgress(None if fraction is None else float(fraction), position)


def _completions(completed: Any, changed_at: str) -> dict[str, datetime]:
    if isinstance(completed, frozenset | set):
        return dict.fromkeys(sorted(completed), _cut(changed_at))
    return {
        content_id: min(map(_cut, [moments] if isinstance(moments, str) else moments))
        for content_id, moments in completed.items()
    }


def _cut(moment: str) -> datetime:
    """To the milliseconds that a completion is kept with."""
    return to_milliseconds(parse_timestamp(moment))


def _optional(moment: str | None) -> datetime | None:
    return None if moment is None else parse_timestamp(moment)
