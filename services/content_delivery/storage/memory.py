"""The twins in memory of the table and of the bucket, for tests and under the same suites.

They keep what the real ones keep, in the form the real ones keep it (rows, not objects of the
domain), so that a row which only looks right is found here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

from services.content_delivery.domain.content import Caption, Content, ContentStatus, Rendition
from services.content_delivery.domain.errors import (
    ContentExistsError,
    ContentNotFoundError,
    VersionConflictError,
)
from services.content_delivery.domain.object_store import DownloadSignature, ObjectMetadata
from services.content_delivery.domain.repository import ContentPage, ListPosition
from services.content_delivery.storage.rows import (
    Row,
    decode,
    decode_summary,
    encode,
    require_new,
)


class MemoryContentRepository:
    """A `ContentRepository` that forgets everything with its process.

    Nothing is awaited between reading a row and writing it, which makes every change conditional.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        """The rows by id; a test may put one there that no code would write."""

    async def get(self, content_id: str) -> Content | None:
        """See `ContentReader.get`."""
        row = self.rows.get(content_id)
        return None if row is None else decode(row, content_id=content_id)

    async def create_pending(self, content: Content) -> None:
        """See `ContentRepository.create_pending`."""
        require_new(content)
        if content.id in self.rows:
            raise ContentExistsError(content.id)
        self.rows[content.id] = encode(content)

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
        return self._change(
            content_id,
            lambda content: content.became_ready(
                size_bytes=size_bytes,
                etag=etag,
                checksum_sha256=checksum_sha256,
                duration_seconds=duration_seconds,
                at=at,
            ),
        )

    async def mark_failed(self, content_id: str, *, reason: str, at: datetime) -> Content:
        """See `ContentRepository.mark_failed`."""
        return self._change(content_id, lambda content: content.became_failed(reason=reason, at=at))

    async def mark_deleted(self, content_id: str, *, at: datetime, purge_at: datetime) -> Content:
        """See `ContentRepository.mark_deleted`."""
        return self._change(
            content_id, lambda content: content.became_deleted(at=at, purge_at=purge_at)
        )

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

        return self._change(content_id, change)

    async def list_by_course(
        self, course_id: str, *, limit: int, after: ListPosition | None = None
    ) -> ContentPage:
        """See `ContentRepository.list_by_course`."""
        summaries = sorted(
            (decode_summary(row) for row in self.rows.values() if row.get("courseId") == course_id),
            key=lambda summary: (summary.position, summary.id),
        )
        left = [
            summary
            for summary in summaries
            if summary.status is not ContentStatus.DELETED
            and (
                after is None or (summary.position, summary.id) > (after.position, after.content_id)
            )
        ]
        items = tuple(left[:limit])
        more = len(left) > limit
        return ContentPage(
            items, ListPosition(items[-1].position, items[-1].id) if more and items else None
        )

    def _change(self, content_id: str, change: Callable[[Content], Content]) -> Content:
        row = self.rows.get(content_id)
        if row is None:
            raise ContentNotFoundError(content_id)
        self.rows[content_id] = encode(change(decode(row, content_id=content_id)))
        return decode(self.rows[content_id], content_id=content_id)


@dataclass(frozen=True, slots=True)
class MemorySigner:
    """A `Signer` whose URLs name what they were asked for; nothing serves them."""

    bucket: str
    credentials_expire_at: datetime | None

    def presign_get(
        self, download: DownloadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """See `Signer.presign_get`."""
        query = {
            "response-content-disposition": download.content_disposition,
            "response-content-type": download.content_type,
            "X-Amz-Date": issued_at.strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Expires": str(expires_seconds),
            "X-Amz-Signature": "0" * 64,
        }
        path = quote(download.object_key, safe="/~")
        return f"https://{self.bucket}.s3.test/{path}?{urlencode(query, quote_via=quote)}"


class MemoryObjectStore:
    """An `ObjectStore` of facts without bytes."""

    def __init__(
        self,
        objects: Mapping[str, ObjectMetadata] | None = None,
        *,
        bucket: str = "bucket",
        credentials_expire_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """``credentials_expire_at`` is asked anew for each signer, as credentials are renewed."""
        self.objects = dict(objects or {})
        self._bucket = bucket
        self._credentials_expire_at = credentials_expire_at

    async def signer(self) -> MemorySigner:
        """See `ObjectStore.signer`."""
        return MemorySigner(self._bucket, self._credentials_expire_at())

    async def head(self, object_key: str) -> ObjectMetadata | None:
        """See `ObjectStore.head`."""
        return self.objects.get(object_key)
