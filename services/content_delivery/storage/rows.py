"""One content as a row of the table, and back.

Owns the attributes' names and types. Reading is strict about what it knows, because a row may have
been written by an older version, a migration or a hand; it leaves alone what it does not know,
because a migration keeps attributes of its own in the same row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from libs.timestamps import format_timestamp, parse_timestamp
from services.content_delivery.domain.content import (
    Caption,
    CaptionKind,
    Content,
    ContentStatus,
    ContentSummary,
    MultipartUpload,
    Rendition,
    RenditionUpload,
)
from services.content_delivery.domain.errors import CorruptContentError

Row = Mapping[str, object]


def encode(content: Content) -> dict[str, object]:
    """The row of a content. What is None has no attribute: an index key must not be null."""
    row: dict[str, object] = {
        "contentId": content.id,
        "courseId": content.course_id,
        "position": content.position,
        "title": content.title,
        "status": content.status.value,
        "objectKey": content.object_key,
        "contentType": content.content_type,
        "sizeBytes": content.size_bytes,
        "etag": content.etag,
        "checksumSha256": content.checksum_sha256,
        "durationSeconds": content.duration_seconds,
        "renditions": [_encode_rendition(rendition) for rendition in content.renditions],
        "captions": [
            {
                "language": caption.language,
                "kind": caption.kind.value,
                "objectKey": caption.object_key,
            }
            for caption in content.captions
        ],
        "multipart": content.multipart and _encode_multipart(content.multipart),
        "renditionUploads": [_encode_upload(upload) for upload in content.rendition_uploads]
        or None,
        "failureReason": content.failure_reason,
        "version": content.version,
        "createdAt": format_timestamp(content.created_at),
        "updatedAt": format_timestamp(content.updated_at),
        "deletedAt": content.deleted_at and format_timestamp(content.deleted_at),
        # Time to live reads whole seconds since the epoch.
        "purgeAt": content.purge_at and int(content.purge_at.timestamp()),
    }
    return _present(**row)


def decode(row: Row, *, content_id: str) -> Content:
    """The content of a row that was asked for by ``content_id``.

    Raises CorruptContentError, which names the attribute and never its value.
    """
    fields = _Fields(row)
    try:
        if fields.text("contentId") != content_id:
            raise ValueError("contentId is not valid")
        purge_at = fields.optional_integer("purgeAt")
        return Content(
            id=content_id,
            course_id=fields.text("courseId"),
            position=fields.integer("position"),
            title=fields.text("title"),
            status=ContentStatus(fields.choice("status", ContentStatus)),
            object_key=fields.text("objectKey"),
            content_type=fields.text("contentType"),
            size_bytes=fields.integer("sizeBytes"),
            etag=fields.optional_text("etag"),
            checksum_sha256=fields.optional_text("checksumSha256"),
            duration_seconds=fields.optional_integer("durationSeconds"),
            renditions=tuple(_decode_rendition(entry) for entry in fields.entries("renditions")),
            captions=tuple(
                Caption(
                    language=entry.text("language"),
                    kind=CaptionKind(entry.choice("kind", CaptionKind)),
                    object_key=entry.text("objectKey"),
                )
                for entry in fields.entries("captions")
            ),
            multipart=_decode_multipart(fields),
            rendition_uploads=tuple(
                _decode_upload(entry) for entry in fields.entries("renditionUploads")
            ),
            failure_reason=fields.optional_text("failureReason"),
            version=fields.integer("version"),
            created_at=fields.instant("createdAt"),
            updated_at=fields.instant("updatedAt"),
            deleted_at=fields.instant("deletedAt") if "deletedAt" in row else None,
            purge_at=None if purge_at is None else _from_epoch(purge_at),
        )
    except ValueError as error:
        raise CorruptContentError(content_id, str(error)) from None


def decode_summary(row: Row) -> ContentSummary:
    """What the index keeps of a row. Raises CorruptContentError."""
    fields = _Fields(row)
    content_id = row.get("contentId")
    try:
        return ContentSummary(
            id=fields.text("contentId"),
            course_id=fields.text("courseId"),
            position=fields.integer("position"),
            title=fields.text("title"),
            status=ContentStatus(fields.choice("status", ContentStatus)),
            content_type=fields.text("contentType"),
            size_bytes=fields.integer("sizeBytes"),
            duration_seconds=fields.optional_integer("durationSeconds"),
            version=fields.integer("version"),
            updated_at=fields.instant("updatedAt"),
        )
    except ValueError as error:
        raise CorruptContentError(str(content_id), str(error)) from None


def require_new(content: Content) -> None:
    """Raise ValueError unless the content is as `ContentRepository.create_pending` wants it."""
    if content.status is not ContentStatus.PENDING or content.version != 1:
        raise ValueError("new content is pending and of version 1")


def _encode_rendition(rendition: Rendition) -> dict[str, object]:
    return _present(
        name=rendition.name,
        objectKey=rendition.object_key,
        contentType=rendition.content_type,
        sizeBytes=rendition.size_bytes,
        etag=rendition.etag,
        width=rendition.width,
        height=rendition.height,
        checksumSha256=rendition.checksum_sha256,
    )


def _decode_rendition(entry: _Fields) -> Rendition:
    return Rendition(
        name=entry.text("name"),
        object_key=entry.text("objectKey"),
        content_type=entry.text("contentType"),
        size_bytes=entry.integer("sizeBytes"),
        etag=entry.text("etag"),
        width=entry.optional_integer("width"),
        height=entry.optional_integer("height"),
        checksum_sha256=entry.optional_text("checksumSha256"),
    )


def _encode_upload(upload: RenditionUpload) -> dict[str, object]:
    return _present(
        name=upload.name,
        objectKey=upload.object_key,
        contentType=upload.content_type,
        sizeBytes=upload.size_bytes,
        checksumSha256=upload.checksum_sha256,
        width=upload.width,
        height=upload.height,
        multipart=upload.multipart and _encode_multipart(upload.multipart),
        failureReason=upload.failure_reason,
    )


def _decode_upload(entry: _Fields) -> RenditionUpload:
    return RenditionUpload(
        name=entry.text("name"),
        object_key=entry.text("objectKey"),
        content_type=entry.text("contentType"),
        size_bytes=entry.integer("sizeBytes"),
        checksum_sha256=entry.optional_text("checksumSha256"),
        width=entry.optional_integer("width"),
        height=entry.optional_integer("height"),
        multipart=_decode_multipart(entry),
        failure_reason=entry.optional_text("failureReason"),
    )


def _encode_multipart(multipart: MultipartUpload) -> dict[str, object]:
    return {"uploadId": multipart.upload_id, "partSize": multipart.part_size}


def _decode_multipart(fields: _Fields) -> MultipartUpload | None:
    entry = fields.optional_entry("multipart")
    if entry is None:
        return None
    return MultipartUpload(upload_id=entry.text("uploadId"), part_size=entry.integer("partSize"))


def _present(**attributes: object) -> dict[str, object]:
    return {name: value for name, value in attributes.items() if value is not None}


def _from_epoch(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("purgeAt is not valid") from None


class _Fields:
    """Typed reads of a row; ValueError names the attribute that is missing or of another type."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def text(self, name: str) -> str:
        value = self._row.get(name)
        if not isinstance(value, str):
            raise ValueError(f"{name} is not a text")
        return value

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if name in self._row else None

    def integer(self, name: str) -> int:
        value = self._row.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} is not a whole number")
        return value

    def optional_integer(self, name: str) -> int | None:
        return self.integer(name) if name in self._row else None

    def choice(self, name: str, choices: type[ContentStatus] | type[CaptionKind]) -> str:
        value = self.text(name)
        if value not in {choice.value for choice in choices}:
            raise ValueError(f"{name} is not one of its values")
        return value

    def instant(self, name: str) -> datetime:
        try:
            return parse_timestamp(self.text(name))
        except ValueError:
            raise ValueError(f"{name} is not a timestamp") from None

    def optional_entry(self, name: str) -> _Fields | None:
        if name not in self._row:
            return None
        value = self._row[name]
        if not isinstance(value, dict):
            raise ValueError(f"{name} is not a map")
        return _Fields(value)

    def entries(self, name: str) -> Sequence[_Fields]:
        value = self._row.get(name, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise ValueError(f"{name} is not a list of maps")
        return [_Fields(entry) for entry in value]
