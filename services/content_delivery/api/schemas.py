"""What a client sends to content delivery and what it gets, as ``openapi.yaml`` promises it."""

from __future__ import annotations

from typing import Literal

from libs.http import Identifier, Schema, UtcTimestamp
from services.content_delivery.domain import content, delivery


class DeliveryQuery(Schema):
    """The query of ``GET /content/{contentId}``."""

    rendition: Identifier | None = None
    disposition: Literal["inline", "attachment"] = "inline"


class RenditionDocument(Schema):
    """One encoding of a content."""

    name: str
    content_type: str
    size_bytes: int
    etag: str
    width: int | None
    height: int | None


class CaptionDocument(Schema):
    """One text track and where to fetch it."""

    language: str
    kind: str
    url: str
    expires_at: UtcTimestamp


class ContentDocument(Schema):
    """The answer of ``GET /content/{contentId}``."""

    id: str
    course_id: str
    title: str
    content_type: str
    size_bytes: int
    etag: str
    duration_seconds: int | None
    url: str
    method: Literal["GET"]
    expires_at: UtcTimestamp
    refresh_after: UtcTimestamp
    renditions: list[RenditionDocument]
    captions: list[CaptionDocument]


def content_document(delivered: delivery.Delivery) -> ContentDocument:
    """The document of a delivery. Object keys are in its URLs and nowhere else."""
    window = delivered.window
    return ContentDocument(
        id=delivered.content.id,
        courseId=delivered.content.course_id,
        title=delivered.content.title,
        contentType=delivered.rendition.content_type,
        sizeBytes=delivered.rendition.size_bytes,
        etag=delivered.rendition.etag,
        durationSeconds=delivered.content.duration_seconds,
        url=delivered.url,
        method="GET",
        expiresAt=window.expires_at,
        refreshAfter=window.refresh_after,
        renditions=[_rendition_document(rendition) for rendition in delivered.renditions],
        captions=[
            CaptionDocument(
                language=signed.caption.language,
                kind=signed.caption.kind.value,
                url=signed.url,
                expiresAt=window.expires_at,
            )
            for signed in delivered.captions
        ],
    )


def _rendition_document(rendition: content.Rendition) -> RenditionDocument:
    return RenditionDocument(
        name=rendition.name,
        contentType=rendition.content_type,
        sizeBytes=rendition.size_bytes,
        etag=rendition.etag,
        width=rendition.width,
        height=rendition.height,
    )
