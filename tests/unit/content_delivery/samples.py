"""Content as the tests of this component need it: valid unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.content_delivery.domain.content import (
    Caption,
    CaptionKind,
    Content,
    ContentStatus,
    Rendition,
)

CREATED = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SECRET_KEY = "content/c-1/mangrove-master.mp4"  # what must never be seen outside a URL

VIDEO_720P = Rendition(
    name="720p",
    object_key="content/c-1/mangrove-720p.mp4",
    content_type="video/mp4",
    size_bytes=2_000_000,
    etag='"7207207207207207"',
    width=1280,
    height=720,
)
ENGLISH = Caption("en", CaptionKind.CAPTIONS, "content/c-1/mangrove.en.vtt")
PORTUGUESE = Caption("pt-BR", CaptionKind.SUBTITLES, "content/c-1/mangrove.pt-BR.vtt")


def pending(content_id: str = "c-1", **changes: object) -> Content:
    """A video whose upload has not been verified yet."""
    content = Content(
        id=content_id,
        course_id="course-1",
        position=1,
        title="Mangroves at low tide",
        status=ContentStatus.PENDING,
        object_key=SECRET_KEY,
        content_type="video/mp4",
        size_bytes=6_000_000,
        created_at=CREATED,
        updated_at=CREATED,
        purge_at=CREATED + timedelta(days=7),
    )
    return replace(content, **changes)  # type: ignore[arg-type]  # dataclasses.replace checks


def ready(content_id: str = "c-1", **changes: object) -> Content:
    """A video that plays for ten minutes, with one more rendition and two tracks."""
    content = (
        pending(content_id)
        .became_ready(
            size_bytes=6_000_001,
            etag='"0123456789abcdef"',
            checksum_sha256="A" * 43 + "=",
            duration_seconds=600,
            at=CREATED + timedelta(minutes=1),
        )
        .with_media(
            renditions=(VIDEO_720P,),
            captions=(ENGLISH, PORTUGUESE),
            at=CREATED + timedelta(minutes=2),
        )
    )
    return replace(content, **changes)  # type: ignore[arg-type]  # dataclasses.replace checks


def failed(content_id: str = "c-1") -> Content:
    """A video whose upload was refused."""
    return pending(content_id).became_failed(
        reason="the checksum differs", at=CREATED + timedelta(minutes=1)
    )


def deleted(content_id: str = "c-1") -> Content:
    """A video that was ready once."""
    return ready(content_id).became_deleted(
        at=CREATED + timedelta(hours=1), purge_at=CREATED + timedelta(days=30)
    )
