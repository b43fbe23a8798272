"""Content in the table Content: by id, and by course through the index ``byCourse``.

Every change reads the row, applies the domain's rule to it and puts the whole row back on the
condition that its version is still the one that was read. So the rule lives once, in the domain,
and a row that a migration wrote becomes this service's own with its first change: a put leaves
nothing of the migration's attributes behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from libs.aws import ConditionFailed, DynamoDB, marshal, unmarshal
from services.content_delivery.domain.content import (
    Caption,
    Content,
    ContentStatus,
    ContentSummary,
    Rendition,
)
from services.content_delivery.domain.errors import (
    ContentExistsError,
    ContentNotFoundError,
    VersionConflictError,
)
from services.content_delivery.domain.repository import Change, ContentPage, ListPosition
from services.content_delivery.storage.rows import decode, decode_summary, encode, require_new

BY_COURSE = "byCourse"
WRITTEN_BY = "writtenBy"
"""The attribute that names the write which made the row; no part of the content."""

_MAXIMUM_ATTEMPTS = 5
"""Steps of one content are rare; whoever loses five races in a row reports the conflict."""


class DynamoContentRepository:
    """The `ContentRepository` on DynamoDB."""

    def __init__(
        self,
        dynamodb: DynamoDB,
        *,
        table: str,
        new_token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """``table`` is the table's name; its keys and index are those of ``table.json``.
        ``new_token`` names each write."""
        self._dynamodb = dynamodb
        self._table = table
        self._new_token = new_token

    async def get(self, content_id: str) -> Content | None:
        """See `ContentReader.get`."""
        # Consistent: the cache in front promises how late a deletion is seen, so the read must
        # not add a delay of its own.
        answer = await self._dynamodb.get_item(
            TableName=self._table,
            Key=marshal({"contentId": content_id}),
            ConsistentRead=True,
        )
        item = answer.get("Item")
        return None if item is None else decode(unmarshal(item), content_id=content_id)

    async def create_pending(self, content: Content) -> None:
        """See `ContentRepository.create_pending`."""
        require_new(content)
        if not await self._put(
            encode(content), ConditionExpression="attribute_not_exists(contentId)"
        ):
            raise ContentExistsError(content.id)

    async def change(self, content_id: str, change: Callable[[Content], Content]) -> Change:
        """See `ContentRepository.change`."""
        for _ in range(_MAXIMUM_ATTEMPTS):
            current = await self.get(content_id)
            if current is None:
                raise ContentNotFoundError(content_id)
            wanted = change(current)
            if wanted is current:
                return Change(current, current)
            changed = encode(wanted)
            if await self._put(
                changed,
                # Also refuses when the row has vanished since: then there is no version.
                ConditionExpression="#version = :read",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues=marshal({":read": current.version}),
            ):
                return Change(current, decode(changed, content_id=content_id))
        raise VersionConflictError(content_id)

    async def mark_ready(
        self,
        content_id: str,
        *,
        size_bytes: int,
        etag: str,
        checksum_sha256: str | None,
        duration_seconds: int | None,
        at: datetime,
    ) -> Content:
        """See `ContentRepository.mark_ready`."""
        change = await self.change(
            content_id,
            lambda content: content.became_ready(
                size_bytes=size_bytes,
                etag=etag,
                checksum_sha256=checksum_sha256,
                duration_seconds=duration_seconds,
                at=at,
            ),
        )
        return change.after

    async def mark_failed(self, content_id: str, *, reason: str, at: datetime) -> Content:
        """See `ContentRepository.mark_failed`."""
        change = await self.change(
            content_id, lambda content: content.became_failed(reason=reason, at=at)
        )
        return change.after

    async def mark_deleted(self, content_id: str, *, at: datetime, purge_at: datetime) -> Content:
        """See `ContentRepository.mark_deleted`."""
        change = await self.change(
            content_id, lambda content: content.became_deleted(at=at, purge_at=purge_at)
        )
        return change.after

    async def replace_media(
        self,
        content_id: str,
        *,
        renditions: tuple[Rendition, ...],
        captions: tuple[Caption, ...],
        expected_version: int,
        at: datetime,
    ) -> Content:
        """See `ContentRepository.replace_media`."""

        def change(content: Content) -> Content:
            if content.version != expected_version:
                raise VersionConflictError(content_id)
            return content.with_media(renditions=renditions, captions=captions, at=at)

        return (await self.change(content_id, change)).after

    async def list_by_course(
        self, course_id: str, *, limit: int, after: ListPosition | None = None
    ) -> ContentPage:
        """See `ContentRepository.list_by_course`."""
        items: list[ContentSummary] = []
        start = after and marshal(
            {"courseId": course_id, "position": after.position, "contentId": after.content_id}
        )
        # The filter works on what was read: a page of deleted rows comes back empty.
        while True:
            page: dict[str, object] = {"ExclusiveStartKey": start} if start else {}
            answer = await self._dynamodb.query(
                TableName=self._table,
                IndexName=BY_COURSE,
                KeyConditionExpression="courseId = :course",
                FilterExpression="#status <> :deleted",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=marshal(
                    {":course": course_id, ":deleted": ContentStatus.DELETED.value}
                ),
                Limit=limit - len(items),
                **page,
            )
            items += [decode_summary(unmarshal(item)) for item in answer.get("Items", [])]
            start = answer.get("LastEvaluatedKey")
            if not start:
                return ContentPage(tuple(items), None)
            if len(items) >= limit:
                return ContentPage(tuple(items), _position(unmarshal(start)))

    async def _put(self, row: Mapping[str, object], **condition: Any) -> bool:
        """Put a row on a condition; False where the condition was not met by somebody else.

        A put whose answer was lost may be sent again: its condition then fails on its own first
        effect, which the token tells from another's.
        """
        token = self._new_token()
        try:
            await self._dynamodb.put_item(
                TableName=self._table,
                Item=marshal({**row, WRITTEN_BY: token}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                repeatable=True,
                **condition,
            )
        except ConditionFailed as failed:
            return failed.item is not None and unmarshal(failed.item).get(WRITTEN_BY) == token
        return True


def _position(key: Mapping[str, object]) -> ListPosition:
    position, content_id = key.get("position"), key.get("contentId")
    if not isinstance(position, int) or not isinstance(content_id, str):
        raise TypeError("the index answers with keys of other types than table.json names")
    return ListPosition(position, content_id)
