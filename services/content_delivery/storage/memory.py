"""The twins in memory of the table and of the bucket, for tests and under the same suites.

They keep what the real ones keep, in the form the real ones keep it (rows, not objects of the
domain), so that a row which only looks right is found here too.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from services.content_delivery.domain.content import Caption, Content, ContentStatus, Rendition
from services.content_delivery.domain.errors import (
    ContentExistsError,
    ContentNotFoundError,
    ObjectChangedError,
    VersionConflictError,
)
from services.content_delivery.domain.object_store import (
    DownloadSignature,
    ObjectMetadata,
    PartSignature,
    UploadedPart,
    UploadForm,
    UploadSignature,
)
from services.content_delivery.domain.repository import Change, ContentPage, ListPosition
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

    async def change(self, content_id: str, change: Callable[[Content], Content]) -> Change:
        """See `ContentRepository.change`."""
        return self._apply(content_id, change)

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
        return self._changed(
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
        return self._changed(
            content_id, lambda content: content.became_failed(reason=reason, at=at)
        )

    async def mark_deleted(self, content_id: str, *, at: datetime, purge_at: datetime) -> Content:
        """See `ContentRepository.mark_deleted`."""
        return self._changed(
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

        return self._changed(content_id, change)

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

    def _changed(self, content_id: str, change: Callable[[Content], Content]) -> Content:
        return self._apply(content_id, change).after

    def _apply(self, content_id: str, change: Callable[[Content], Content]) -> Change:
        row = self.rows.get(content_id)
        if row is None:
            raise ContentNotFoundError(content_id)
        before = decode(row, content_id=content_id)
        wanted = change(before)
        if wanted is before:
            return Change(before, before)
        self.rows[content_id] = encode(wanted)
        return Change(before, decode(self.rows[content_id], content_id=content_id))


@dataclass(frozen=True, slots=True)
class MemorySigner:
    """A `Signer` whose URLs name what they were asked for; nothing serves them."""

    bucket: str
    credentials_expire_at: datetime | None

    def presign_get(
        self, download: DownloadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """See `Signer.presign_get`."""
        return self._url(
            download.object_key,
            {
                "response-cache-control": download.cache_control,
                "response-content-disposition": download.content_disposition,
                "response-content-type": download.content_type,
            },
            issued_at,
            expires_seconds,
        )

    def presign_part(
        self, part: PartSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """See `Signer.presign_part`."""
        return self._url(
            part.object_key,
            {
                "uploadId": part.upload_id,
                "partNumber": str(part.part_number),
                "X-Amz-SignedHeaders": "content-length;host",
            },
            issued_at,
            expires_seconds,
        )

    def presign_form(
        self, upload: UploadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> UploadForm:
        """See `Signer.presign_form`. The policy is readable; nothing is signed."""
        fields = {"Content-Type": upload.content_type}
        if upload.checksum_sha256 is not None:
            fields["x-amz-checksum-algorithm"] = "SHA256"
            fields["x-amz-checksum-sha256"] = upload.checksum_sha256
        expires_at = issued_at + timedelta(seconds=expires_seconds)
        policy = {
            "expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [
                *({name: value} for name, value in fields.items()),
                ["content-length-range", upload.size_bytes, upload.size_bytes],
                {"bucket": self.bucket},
                {"key": upload.object_key},
            ],
        }
        return UploadForm(
            f"https://{self.bucket}.s3.test/",
            {
                **fields,
                "key": upload.object_key,
                "x-amz-date": issued_at.strftime("%Y%m%dT%H%M%SZ"),
                "policy": base64.b64encode(json.dumps(policy).encode()).decode(),
                "x-amz-signature": "0" * 64,
            },
        )

    def _url(
        self, key: str, query: Mapping[str, str], issued_at: datetime, expires_seconds: int
    ) -> str:
        signed = {
            **query,
            "X-Amz-Date": issued_at.strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Expires": str(expires_seconds),
            "X-Amz-Signature": "0" * 64,
        }
        path = quote(key, safe="/~")
        return f"https://{self.bucket}.s3.test/{path}?{urlencode(signed, quote_via=quote)}"


@dataclass(slots=True)
class _Multipart:
    object_key: str
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryObjectStore:
    """An `ObjectStore` that forgets everything with its process.

    ``objects`` may hold facts without bytes; what is put or uploaded has both.
    """

    def __init__(
        self,
        objects: Mapping[str, ObjectMetadata] | None = None,
        *,
        bucket: str = "bucket",
        credentials_expire_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """``credentials_expire_at`` is asked anew for each signer, as credentials are renewed."""
        self.objects = dict(objects or {})
        self.bodies: dict[str, bytes] = {}
        self._uploads: dict[str, _Multipart] = {}
        self._begun = 0
        self._bucket = bucket
        self._credentials_expire_at = credentials_expire_at

    async def signer(self) -> MemorySigner:
        """See `ObjectStore.signer`."""
        return MemorySigner(self._bucket, self._credentials_expire_at())

    async def head(self, object_key: str) -> ObjectMetadata | None:
        """See `ObjectStore.head`."""
        return self.objects.get(object_key)

    async def read(self, object_key: str, *, start: int, length: int, etag: str) -> bytes:
        """See `ObjectStore.read`."""
        facts = self.objects.get(object_key)
        if facts is None or facts.etag != etag or start >= facts.size_bytes:
            raise ObjectChangedError
        return self.bodies[object_key][start : start + length]

    async def put(self, object_key: str, body: bytes, *, content_type: str) -> None:
        """See `ObjectStore.put`."""
        self.bodies[object_key] = body
        self.objects[object_key] = ObjectMetadata(len(body), content_type, f'"{_md5(body)}"')

    async def delete(self, object_key: str) -> None:
        """See `ObjectStore.delete`."""
        self.objects.pop(object_key, None)
        self.bodies.pop(object_key, None)

    async def create_multipart(self, object_key: str, *, content_type: str) -> str:
        """See `ObjectStore.create_multipart`."""
        self._begun += 1
        upload_id = f"upload-{self._begun}"
        self._uploads[upload_id] = _Multipart(object_key, content_type)
        return upload_id

    def send_part(self, object_key: str, upload_id: str, number: int, body: bytes) -> bool:
        """What a client does by a signed URL; False when there is no such upload."""
        upload = self._upload(object_key, upload_id)
        if upload is None:
            return False
        upload.parts[number] = body
        return True

    @property
    def open_uploads(self) -> int:
        """How many uploads in parts are neither completed nor aborted."""
        return len(self._uploads)

    async def list_parts(self, object_key: str, upload_id: str) -> Sequence[UploadedPart] | None:
        """See `ObjectStore.list_parts`."""
        upload = self._upload(object_key, upload_id)
        if upload is None:
            return None
        return [
            UploadedPart(number, len(body), f'"{_md5(body)}"')
            for number, body in sorted(upload.parts.items())
        ]

    async def complete_multipart(
        self, object_key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> bool:
        """See `ObjectStore.complete_multipart`."""
        upload = self._upload(object_key, upload_id)
        held = {part.number: part for part in await self.list_parts(object_key, upload_id) or ()}
        if upload is None or any(held.get(part.number) != part for part in parts):
            return False
        body = b"".join(upload.parts[part.number] for part in parts)
        await self.put(object_key, body, content_type=upload.content_type)
        self.objects[object_key] = replace(
            self.objects[object_key], etag=f'"{_md5(body)}-{len(parts)}"'
        )
        del self._uploads[upload_id]
        return True

    async def abort_multipart(self, object_key: str, upload_id: str) -> None:
        """See `ObjectStore.abort_multipart`."""
        if self._upload(object_key, upload_id) is not None:
            del self._uploads[upload_id]

    def _upload(self, object_key: str, upload_id: str) -> _Multipart | None:
        upload = self._uploads.get(upload_id)
        return upload if upload is not None and upload.object_key == object_key else None


def _md5(body: bytes) -> str:
    # The form of S3's entity tags; nothing is protected by it.
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
