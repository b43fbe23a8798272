"""Content as the monolith keeps it: `CONTENT#<id>`/`META`.

Owns the names of attributes and what is taken for granted where old items have none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

from libs.aws import marshal, unmarshal
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
from services.content_delivery.storage import rows
from tests.monolith.catalog import META, same_version
from tests.monolith.moments import UNKNOWN
from tests.monolith.table import (
    ABSENT,
    BY_COURSE,
    PARTITION,
    SORT,
    Expected,
    Item,
    Key,
    NotAsExpectedError,
    Put,
    Table,
)

CONTENT: Final = "CONTENT#"

NAMES: Final = {
    "courseId": "course",
    "position": "order",
    "status": "state",
    "objectKey": "s3Key",
    "contentType": "mime",
    "sizeBytes": "bytes",
    "checksumSha256": "sha256",
    "durationSeconds": "seconds",
    "version": "rev",
    "purgeAt": "expiresAt",
}
"""The service's attributes that are called otherwise here."""

_THEIRS: Final = {name: theirs for theirs, name in NAMES.items()}
_MAXIMUM_ATTEMPTS: Final = 5


def content_key(content_id: str) -> Key:
    """Where content is kept."""
    return Key(f"{CONTENT}{content_id}", META)


def content_item(content: Content) -> Item:
    """Content as it is kept."""
    kept = {NAMES.get(name, name): value for name, value in rows.encode(content).items()}
    del kept["contentId"]
    return {**content_key(content.id).item(), **marshal(kept)}


def content_of(item: Item, content_id: str) -> Content:
    """The content of an item. Raises CorruptContentError."""
    return rows.decode(content_row(item), content_id=content_id)


class LegacyContents:
    """A `ContentRepository` over the one table."""

    def __init__(
        self, table: Table, *, new_token: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._table = table
        self._new_token = new_token

    async def get(self, content_id: str) -> Content | None:
        """See `ContentReader.get`."""
        item = await self._table.get(content_key(content_id))
        return None if item is None else content_of(item, content_id)

    async def create_pending(self, content: Content) -> None:
        """See `ContentRepository.create_pending`."""
        rows.require_new(content)
        if not await self._put(content, ABSENT):
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
            if await self._put(
                wanted,
                # The key too: where the item has vanished, there is no version either.
                {
                    PARTITION: ({"S": content_key(content_id).partition},),
                    "rev": same_version(current.version),
                },
            ):
                return Change(current, content_of(content_item(wanted), content_id))
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
        """See `ContentRepository.list_by_course`. Reads all of the course: old items have no
        `order`, so no index is by it."""
        found: list[ContentSummary] = []
        async for batch in self._table.index(BY_COURSE, course_id):
            found += [rows.decode_summary(content_row(item)) for item in batch]
        left = sorted(
            (
                summary
                for summary in found
                if summary.status is not ContentStatus.DELETED
                and (after is None or _place(summary) > (after.position, after.content_id))
            ),
            key=_place,
        )
        items = tuple(left[:limit])
        if not items or len(left) <= limit:
            return ContentPage(items, None)
        return ContentPage(items, ListPosition(*_place(items[-1])))

    async def _put(self, content: Content, expected: Expected) -> bool:
        try:
            await self._table.write(Put(content_item(content), expected), token=self._new_token())
        except NotAsExpectedError:
            return False
        return True


def _place(summary: ContentSummary) -> tuple[int, str]:
    return summary.position, summary.id


def content_row(item: Item) -> rows.Row:
    """The item as the service has it."""
    values = {"order": 0, "rev": 1, "createdAt": UNKNOWN, **unmarshal(item)}
    values = {"updatedAt": values["createdAt"], **values}
    row = {
        _THEIRS.get(name, name): value
        for name, value in values.items()
        if name not in (PARTITION, SORT)
    }
    return {**row, "contentId": str(values[PARTITION]).removeprefix(CONTENT)}
