"""Progress in DynamoDB: one `ProgressRepository` over the rows of `rows.py`.

Owns which row is written when, and under which condition. There are no transactions: each row is a
semilattice of its own, and every write states the condition under which it makes the row greater.
A failed condition gives the row as it is now, and what is still wanted is worked out again from
that; because rows only grow, this ends after at most one round for each thing that was wanted.

The order of writes makes a partial failure safe to repeat. The course row comes first, so no row
exists without it. The recent row comes last: it carries the time of the last change to whoever
lists courses, and is owed as long as a content row is newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from libs.aws import ConditionFailed, DynamoDB, Throttled, marshal
from libs.timestamps import format_timestamp
from services.progress_tracking.domain.errors import CorruptProgressError
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import (
    FIRST_ATTEMPT,
    ContentProgress,
    CourseProgress,
    CourseSummary,
    ProgressUpdate,
    changes,
    to_milliseconds,
)
from services.progress_tracking.domain.recording import attempt_of, recorded
from services.progress_tracking.domain.repository import Recorded, SummaryPage
from services.progress_tracking.storage import rows
from services.progress_tracking.storage.plans import (
    plan_completion,
    plan_content_row,
    plan_course_row,
    plan_recent_row,
)
from services.progress_tracking.storage.rows import ContentRow, CourseRow, Item, RecentRow
from services.progress_tracking.storage.update import ConditionalUpdate

MAX_CONCURRENT_WRITES: Final = 8
"""Content rows of one update that are written at the same time."""

_MAX_ROUNDS: Final = 64
_MAX_KEYS_PER_BATCH: Final = 100  # BatchGetItem's limit
_MAX_BATCH_ROUNDS: Final = 4

_Row = TypeVar("_Row")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _CourseRows:
    """Every row of one user's course, of whichever attempt."""

    course: CourseRow | None
    recent: RecentRow | None
    contents: Mapping[str, ContentRow]

    def progress(self) -> CourseProgress | None:
        if self.course is None and self.recent is None and not self.contents:
            return None
        summary = rows.summary_of(self.course, self.recent)
        return CourseProgress(
            summary,
            {
                content_id: row.content
                for content_id, row in self.contents.items()
                if row.attempt == summary.attempt
            },
        )

    def existing(self) -> Recorded:
        """What an update that changed nothing is answered with."""
        progress = self.progress()
        if progress is None:
            raise CorruptProgressError("a course row is never deleted")
        return Recorded(progress, created=False)


@dataclass(frozen=True, slots=True)
class _Written(Generic[_Row]):
    """A row after everything wanted of it was written; `created` when it was not there before."""

    row: _Row | None
    created: bool


class DynamoDBProgressRepository:
    """A `ProgressRepository` in one table."""

    def __init__(self, dynamodb: DynamoDB, *, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        """As `ProgressRepository.read`: two strongly consistent Queries at the same time."""
        return (await self._read_rows(user_id, course_id)).progress()

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
        before = await self._read_rows(user_id, course_id)
        current = before.progress()
        # Refuses what must not be recorded before anything is written.
        recorded(current, update, course_id=course_id, outline=outline, at=at)
        if before.course is not None and attempt_of(update, current=before.course.attempt) is None:
            return before.existing()
        attempt = FIRST_ATTEMPT if before.course is None else before.course.attempt
        wanted = changes(update, course_id=course_id, attempt=attempt, at=at)

        course, created = await self._write_course_row(
            user_id, before.course, wanted.summary, outline
        )
        if course.attempt != attempt:  # the next attempt began meanwhile: this one is over
            return (await self._read_rows(user_id, course_id)).existing()
        contents = dict(before.contents) | await self._write_content_rows(
            user_id, course_id, before.contents, wanted
        )
        recent = await self._write_recent_row(
            user_id, course, before.recent, contents.values(), wanted.summary
        )
        after = _CourseRows(course, recent, contents).existing()
        return replace(after, created=created)

    async def keep_completion(
        self, user_id: str, summary: CourseSummary, *, at: datetime
    ) -> CourseSummary:
        """As `ProgressRepository.keep_completion`: one conditional write."""
        if summary.completed_at is None:
            return summary
        write = plan_completion(summary, summary.completed_at, at)
        try:
            item = await self._update(rows.course_key(user_id, summary.course_id), write)
        except ConditionFailed as failed:
            if failed.item is None:
                raise CorruptProgressError("a course row is never deleted") from None
            item = failed.item
        row = rows.course_row(item)
        if row.attempt != summary.attempt:
            return summary
        updated_at = max(summary.updated_at, row.updated_at)
        return replace(summary, completed_at=row.completed_at, updated_at=updated_at)

    async def start_attempt(
        self, user_id: str, course_id: str, *, following: int, at: datetime
    ) -> CourseProgress | None:
        """As `ProgressRepository.start_attempt`: one write; the earlier attempt's other rows are
        passed over when read and replaced when written."""
        before = await self._read_rows(user_id, course_id)
        if before.course is None or before.course.attempt != following:
            return before.progress()
        write = ConditionalUpdate()
        write.set(rows.ATTEMPT, following + 1)
        updated_at = max(to_milliseconds(at), rows.latest_change(before.course, before.recent))
        write.set(rows.UPDATED_AT, format_timestamp(updated_at))
        for attribute in (rows.STARTED_AT, rows.COMPLETED_AT, rows.COMPLETED):
            write.remove(attribute)
        write.require_equal(rows.ATTEMPT, following)
        with suppress(ConditionFailed):  # begun by somebody else at the same time
            await self._update(rows.course_key(user_id, course_id), write)
        return await self.read(user_id, course_id)

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        """As `ProgressRepository.list_summaries`: one strongly consistent Query.

        A course has one or two rows, so of 2 * limit + 1 rows the first `limit` courses are whole
        and there is one row more to tell whether the listing goes on.
        """
        wanted_rows = 2 * limit + 1
        answer = await self._query(user_id, rows.heads_after(after), limit=wanted_rows)
        items = _items(answer)
        courses = rows.head_rows(items)
        if "LastEvaluatedKey" in answer and courses and courses[-1][2] is None:
            # The page may have ended, at 1 MB, between the two rows of its last course. It holds
            # more than that course: a row has 400 KB at most.
            courses.pop()
        return SummaryPage(
            summaries=tuple(
                rows.summary_of(course, recent) for _, course, recent in courses[:limit]
            ),
            more=len(courses) > limit or len(items) == wanted_rows or "LastEvaluatedKey" in answer,
        )

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """As `ProgressRepository.read_outlines`: eventually consistent, 100 outlines a request.

        Raises Throttled when the table will not give all of them.
        """
        found: dict[str, Outline] = {}
        waiting: list[Item] = [rows.outline_key(course_id) for course_id in set(course_ids)]
        rounds = _MAX_BATCH_ROUNDS + len(waiting) // _MAX_KEYS_PER_BATCH
        while waiting:
            if not rounds:
                raise Throttled("dynamodb", "BatchGetItem", reason="throttled")
            rounds -= 1
            asked, waiting = waiting[:_MAX_KEYS_PER_BATCH], waiting[_MAX_KEYS_PER_BATCH:]
            answer = await self._dynamodb.batch_get_item(
                RequestItems={self._table: {"Keys": asked}}
            )
            for item in answer["Responses"].get(self._table, []):
                outline = rows.outline_row(item)
                found[outline.course_id] = outline
            waiting += answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
        return found

    async def learn_outline(self, outline: Outline) -> bool:
        """As `ProgressRepository.learn_outline`: one conditional write."""
        try:
            await self._dynamodb.put_item(
                TableName=self._table,
                Item=rows.outline_item(outline),
                ConditionExpression="attribute_not_exists(#userId) OR #version < :version",
                ExpressionAttributeNames={
                    "#userId": rows.PARTITION,
                    "#version": rows.OUTLINE_VERSION,
                },
                ExpressionAttributeValues=marshal({":version": outline.version}),
            )
        except ConditionFailed:
            return False
        return True

    async def _read_rows(self, user_id: str, course_id: str) -> _CourseRows:
        heads, contents = await _together(
            [
                self._query_all(user_id, rows.heads_of(course_id)),
                self._query_all(user_id, rows.contents_of(course_id)),
            ]
        )
        found = rows.head_rows(heads)
        _, course, recent = found[0] if found else (course_id, None, None)
        return _CourseRows(
            course, recent, {row.content_id: row for row in map(rows.content_row, contents)}
        )

    async def _write_course_row(
        self,
        user_id: str,
        row: CourseRow | None,
        wanted: CourseSummary,
        outline: Outline | None,
    ) -> tuple[CourseRow, bool]:
        """The row once nothing is wanted of it any more, and whether this call created it."""
        written = await self._bring_about(
            rows.course_key(user_id, wanted.course_id),
            row,
            plan=lambda row: plan_course_row(row, wanted, outline),
            read=rows.course_row,
        )
        if written.row is None:
            raise CorruptProgressError("a row that was written exists")
        return written.row, written.created

    async def _write_content_rows(
        self,
        user_id: str,
        course_id: str,
        present: Mapping[str, ContentRow],
        wanted: CourseProgress,
    ) -> dict[str, ContentRow]:
        permits = asyncio.Semaphore(MAX_CONCURRENT_WRITES)

        async def write(content_id: str, content: ContentProgress) -> ContentRow | None:
            async with permits:
                written = await self._bring_about(
                    rows.content_key(user_id, course_id, content_id),
                    present.get(content_id),
                    plan=lambda row: plan_content_row(row, content, wanted.summary),
                    read=rows.content_row,
                )
                return written.row

        written = await _together([write(*entry) for entry in wanted.contents.items()])
        return {row.content_id: row for row in written if row is not None}

    async def _write_recent_row(
        self,
        user_id: str,
        course: CourseRow,
        row: RecentRow | None,
        contents: Iterable[ContentRow],
        wanted: CourseSummary,
    ) -> RecentRow | None:
        newest = max(
            (content.updated_at for content in contents if content.attempt == course.attempt),
            default=course.updated_at,
        )
        written = await self._bring_about(
            rows.recent_key(user_id, course.course_id),
            row,
            plan=lambda row: plan_recent_row(row, course, wanted, newest),
            read=rows.recent_row,
        )
        return written.row

    async def _bring_about(
        self,
        key: Item,
        row: _Row | None,
        *,
        plan: Callable[[_Row | None], ConditionalUpdate | None],
        read: Callable[[Item], _Row],
    ) -> _Written[_Row]:
        """Write what `plan` wants of the row until it wants nothing.

        `row` is the row as it was last seen. A condition that fails shows the row as it is.
        """
        created = False
        for _ in range(_MAX_ROUNDS):
            write = plan(row)
            if write is None:
                return _Written(row, created)
            try:
                answer = await self._update(key, write)
            except ConditionFailed as failed:
                row = None if failed.item is None else read(failed.item)
            else:
                created = created or row is None
                row = read(answer)
        raise CorruptProgressError("a row only grows, so its conditions hold in the end")

    async def _update(self, key: Item, write: ConditionalUpdate) -> Item:
        """Write and give the whole row as it is then. Raises ConditionFailed.

        Twice is the same as once: a write that makes a row greater fails its condition the second
        time, and every caller takes that for done. So it is repeated where its answer is lost.
        """
        answer = await self._dynamodb.update_item(
            TableName=self._table,
            Key=key,
            **write.parameters(),
            # Both cost nothing and save reading the row again.
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            repeatable=True,
        )
        attributes: Item = answer["Attributes"]
        return attributes

    async def _query_all(self, user_id: str, between: tuple[str, str]) -> list[Item]:
        items: list[Item] = []
        start: Item | None = None
        while True:
            answer = await self._query(user_id, between, start=start)
            items += _items(answer)
            start = answer.get("LastEvaluatedKey")
            if not start:
                return items

    async def _query(
        self,
        user_id: str,
        between: tuple[str, str],
        *,
        limit: int | None = None,
        start: Item | None = None,
    ) -> Mapping[str, Any]:
        lowest, highest = between
        parameters: dict[str, Any] = {}
        if limit is not None:
            parameters["Limit"] = limit
        if start is not None:
            parameters["ExclusiveStartKey"] = start
        return await self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="#userId = :userId AND #sk BETWEEN :lowest AND :highest",
            ExpressionAttributeNames={"#userId": rows.PARTITION, "#sk": rows.SORT},
            ExpressionAttributeValues=marshal(
                {":userId": user_id, ":lowest": lowest, ":highest": highest}
            ),
            # A learner must see what was acknowledged: nothing may seem to go backwards.
            ConsistentRead=True,
            **parameters,
        )


def _items(answer: Mapping[str, Any]) -> list[Item]:
    items: list[Item] = answer["Items"]
    return items


async def _together(coroutines: Collection[Coroutine[object, object, _Result]]) -> list[_Result]:
    """Their results in order; the first error is raised as it is, once all have ended.

    Not at once, and none is cancelled for another's sake: of calls that are made at the same time a
    half-open circuit admits one and rejects the rest. That one is the trial. If the rejection of
    the others cancelled it, the circuit would never hear how it went, and would never close.
    """

    async def outcome(coroutine: Coroutine[object, object, _Result]) -> _Result | Exception:
        try:
            return await coroutine
        except Exception as error:
            return error

    # The group is for our own cancellation: it takes the others along, and waits for them.
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome(coroutine)) for coroutine in coroutines]
    results: list[_Result] = []
    for task in tasks:
        result = task.result()
        if isinstance(result, Exception):
            raise result
        results.append(result)
    return results
