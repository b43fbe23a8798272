"""Courses in DynamoDB. Owns the conditions and transactions of every write and the queries.

Keys and attributes are `items`'s, guarding and classification `libs.aws`'s. Every failure of the
dependency leaves here as CatalogUnavailableError, with its cause chained.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from libs.aws import ConditionFailed, DependencyError, DynamoDB
from libs.circuit_breaker import CircuitOpenError
from libs.logging import get_logger
from libs.resilience import BulkheadFullError
from libs.tracing import TraceContext, format_header
from services.course_catalog.domain.course import Change, Course, Status, Summary, Tombstone
from services.course_catalog.domain.errors import (
    CatalogUnavailableError,
    CourseExistsError,
    SlugTakenError,
    VersionConflictError,
)
from services.course_catalog.domain.repository import UNCHANGED, Unchanged
from services.course_catalog.storage.items import (
    BY_CHANGE,
    BY_STATUS,
    DELETED,
    IN_WHICH_VERSION,
    SHARDS,
    Item,
    change_of,
    change_shard,
    changed_since_key,
    course_item,
    course_key,
    course_of,
    is_course_in,
    outline_item,
    slug_item,
    slug_key,
    status_shard,
    tombstone_item,
)

_log = get_logger(__name__)

_ABSENT = "attribute_not_exists(courseId)"


class DynamoDBCourseRepository:
    """A CourseRepository over one table.

    Whatever changes the outline that learners see writes it into a row of its own as well, in the
    same transaction: from the table's stream others learn of it (events.yaml).
    """

    def __init__(
        self,
        dynamodb: DynamoDB,
        table: str,
        *,
        trace: Callable[[], TraceContext | None] = lambda: None,
    ) -> None:
        """`trace` gives the current trace, which goes along with the event."""
        self._dynamodb = dynamodb
        self._table = table
        self._trace = trace

    async def get(self, course_id: str) -> Course | None:
        item = await self._item(course_id)
        return None if item is None else course_of(item)

    async def get_newer(self, course_id: str, version: int) -> Course | Unchanged | None:
        if version:
            # Nearly all that is read again is unchanged, and an outline's rows are the most of it.
            known = await self._item(course_id, **IN_WHICH_VERSION)
            if known is None:
                return None
            if is_course_in(known, version):
                return UNCHANGED
        return await self.get(course_id)

    async def _item(self, course_id: str, **projection: Any) -> Item | None:
        with _dependency():
            # Consistent: who has just written must not read the version before, whose ETag would
            # be refused.
            response = await self._dynamodb.get_item(
                TableName=self._table, Key=course_key(course_id), ConsistentRead=True, **projection
            )
        item: Item | None = response.get("Item")
        return item

    async def create(self, course: Course) -> None:
        try:
            await self._transact(
                self._put(course_item(course), ConditionExpression=_ABSENT),
                self._put(slug_item(course), ConditionExpression=_ABSENT),
                *self._outline_event(course, previous=None),
            )
        except ConditionFailed as failed:
            if failed.reasons[0] is not None:
                raise CourseExistsError(course.id) from failed
            raise SlugTakenError(course.slug) from failed

    async def replace(self, course: Course, *, previous: Course) -> None:
        item = course_item(course)
        # What is kept comes back with a refusal: an SDK whose first request was kept and whose
        # answer was lost sends again, and then meets the very item it brings.
        condition = _unchanged(previous) | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        others = self._outline_event(course, previous=previous)
        if course.slug != previous.slug:
            others = [
                self._put(slug_item(course), ConditionExpression=_ABSENT),
                self._delete_slug(previous),
                *others,
            ]
        try:
            if others:
                await self._transact(self._put(item, **condition), *others)
            else:
                # One write; as a transaction it would cost twice as much.
                with _dependency():
                    await self._dynamodb.put_item(TableName=self._table, Item=item, **condition)
        except ConditionFailed as failed:
            kept = failed.items[0] if failed.items else failed.item
            if kept is not None and course_of(kept) == course:
                return
            if failed.reasons and failed.reasons[0] is None and failed.reasons[1] is not None:
                raise SlugTakenError(course.slug) from failed
            raise VersionConflictError(course.id, previous.version) from failed

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        try:
            await self._transact(
                self._put(tombstone_item(tombstone), **_unchanged(previous)),
                self._delete_slug(previous),
            )
        except ConditionFailed as failed:
            raise VersionConflictError(previous.id, previous.version) from failed

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        for shard in range(SHARDS):
            pages = self._query(
                IndexName=BY_STATUS,
                KeyConditionExpression="statusShard = :shard",
                ExpressionAttributeValues={":shard": {"S": status_shard(status, shard)}},
            )
            async for page in pages:
                yield [change for change in page if isinstance(change, Summary)]

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        for shard in range(SHARDS):
            pages = self._query(
                IndexName=BY_CHANGE,
                KeyConditionExpression="changeShard = :shard AND changedAtId >= :since",
                ExpressionAttributeValues={
                    ":shard": {"S": change_shard(shard)},
                    ":since": {"S": changed_since_key(since)},
                },
            )
            async for page in pages:
                yield page

    def _outline_event(self, course: Course, *, previous: Course | None) -> list[dict[str, Any]]:
        """The action that tells others of the outline, where there is something to tell.

        A draft's outline is the author's alone. Archiving changes no outline: who is in the middle
        of the course goes on.
        """
        if course.status is Status.DRAFT:
            return []
        if (
            previous is not None
            and previous.status is not Status.DRAFT
            and previous.outline_version == course.outline_version
        ):
            return []
        trace = self._trace()
        header = None if trace is None else format_header(trace)
        return [self._put(outline_item(course, trace_header=header))]

    async def _transact(self, *actions: dict[str, Any]) -> None:
        with _dependency():
            await self._dynamodb.transact_write_items(TransactItems=list(actions))

    def _put(self, item: Item, **condition: Any) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": item, **condition}}

    def _delete_slug(self, course: Course) -> dict[str, Any]:
        return {
            "Delete": {
                "TableName": self._table,
                "Key": slug_key(course.slug),
                "ConditionExpression": "ownerId = :owner",
                "ExpressionAttributeValues": {":owner": {"S": course.id}},
            }
        }

    async def _query(self, **params: Any) -> AsyncIterator[list[Change]]:
        while True:
            with _dependency():
                response = await self._dynamodb.query(TableName=self._table, **params)
            yield list(_readable(response["Items"]))
            if "LastEvaluatedKey" not in response:
                return
            params["ExclusiveStartKey"] = response["LastEvaluatedKey"]


def _unchanged(previous: Course) -> dict[str, Any]:
    """The condition that what is kept still is `previous`: its version, and not a tombstone."""
    return {
        "ConditionExpression": "#version = :version AND #status <> :deleted",
        "ExpressionAttributeNames": {"#version": "version", "#status": "status"},
        "ExpressionAttributeValues": {
            ":version": {"N": str(previous.version)},
            ":deleted": {"S": DELETED},
        },
    }


def _readable(items: Sequence[Item]) -> Iterator[Change]:
    """One item that is not a course must not take the listing of all others down."""
    for item in items:
        try:
            yield change_of(item)
        except ValueError:
            _log.exception("course_unreadable", courseId=item.get("courseId", {}).get("S"))


@contextmanager
def _dependency() -> Iterator[None]:
    try:
        yield
    except (CircuitOpenError, BulkheadFullError) as error:
        raise CatalogUnavailableError(
            "the catalog's store is left alone for a moment", error.retry_after_seconds
        ) from error
    except DependencyError as error:
        raise CatalogUnavailableError(str(error), error.retry_after_seconds) from error
