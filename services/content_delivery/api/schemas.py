"""What a client sends to content delivery and what it gets, as ``openapi.yaml`` promises it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from libs.http import DecimalInteger, Identifier, Schema, UtcTimestamp
from services.content_delivery.domain import content, delivery, uploads
from services.content_delivery.domain.content import ORIGINAL_RENDITION, CaptionKind

# No control characters and no line or paragraph separators; the pattern of the contract.
Title = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
    ),
]
ContentType = Annotated[
    str,
    StringConstraints(
        max_length=200,
        pattern=r"^[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}"
        r"(; ?charset=[A-Za-z0-9-]{1,32})?$",
    ),
]
SizeBytes = Annotated[int, Field(ge=1, le=5 * 1024**4)]
# The last character of 256 bits in base64 has only four to say.
ChecksumSha256 = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")
]
Position = Annotated[int, Field(ge=0, le=content.MAXIMUM_POSITION)]
DurationSeconds = Annotated[int, Field(ge=0, le=604_800)]
Pixels = Annotated[int, Field(ge=1, le=65_535)]


class NoQuery(Schema):
    """The query of an operation that takes none."""


class DeliveryQuery(Schema):
    """The query of ``GET /content/{contentId}``."""

    rendition: Identifier | None = None
    disposition: Literal["inline", "attachment"] = "inline"


class ListQuery(Schema):
    """The query of ``GET /content``."""

    course_id: Identifier
    limit: Annotated[DecimalInteger, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None


class UploadQuery(Schema):
    """The query of the upload operations."""

    rendition: Identifier = ORIGINAL_RENDITION


class CaptionQuery(Schema):
    """The query of the caption operations."""

    kind: Literal["subtitles", "captions", "descriptions", "chapters"] = "subtitles"

    @property
    def caption_kind(self) -> CaptionKind:
        """The kind as the domain has it."""
        return CaptionKind(self.kind)


class NewContentBody(Schema):
    """The body of ``POST /content``."""

    course_id: Identifier
    title: Title
    content_type: ContentType
    size_bytes: SizeBytes
    checksum_sha256: ChecksumSha256 | None = None
    position: Position = 0
    duration_seconds: DurationSeconds | None = None

    def new_content(self) -> uploads.NewContent:
        """The announcement as the domain has it."""
        return uploads.NewContent(
            course_id=self.course_id,
            title=self.title,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            checksum_sha256=self.checksum_sha256,
            position=self.position,
            duration_seconds=self.duration_seconds,
        )


class NewRenditionBody(Schema):
    """The body of ``POST /content/{contentId}/renditions``."""

    name: Identifier
    content_type: ContentType
    size_bytes: SizeBytes
    checksum_sha256: ChecksumSha256 | None = None
    width: Pixels | None = None
    height: Pixels | None = None

    def new_rendition(self) -> uploads.NewRendition:
        """The announcement as the domain has it."""
        return uploads.NewRendition(
            name=self.name,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            checksum_sha256=self.checksum_sha256,
            width=self.width,
            height=self.height,
        )


class PartsBody(Schema):
    """The body of ``POST /content/{contentId}/upload/parts``."""

    part_numbers: (
        Annotated[
            list[Annotated[int, Field(ge=1, le=content.MAXIMUM_PARTS)]],
            Field(min_length=1, max_length=uploads.MAXIMUM_PART_URLS),
        ]
        | None
    ) = None


class MetadataBody(Schema):
    """The body of ``PUT /content/{contentId}/metadata``."""

    title: Title
    position: Position
    course_id: Identifier | None = None
    duration_seconds: DurationSeconds | None = None


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


class PartUrlDocument(Schema):
    """Where to send one part."""

    part_number: int
    size_bytes: int
    url: str


class SendDocument(Schema):
    """How to send the bytes: one form, or parts."""

    method: Literal["post", "multipart"]
    content_type: str
    size_bytes: int
    url: str | None
    fields: dict[str, str] | None
    upload_id: str | None
    part_size: int | None
    part_count: int | None
    part_urls: list[PartUrlDocument]
    expires_at: UtcTimestamp


class TicketDocument(Schema):
    """The answer to an announcement, and to who asks where to send what is missing."""

    id: str
    rendition: str
    status: str
    upload: SendDocument | None


class PartRun(Schema):
    """Parts from ``first`` to ``last``, both included."""

    first: int
    last: int


class UploadDocument(Schema):
    """An upload as it stands."""

    id: str
    rendition: str
    state: str
    method: Literal["post", "multipart"]
    content_type: str
    size_bytes: int
    checksum_sha256: str | None
    part_size: int | None
    part_count: int | None
    missing: list[PartRun]
    failure_reason: str | None


class AnnouncedRenditionDocument(Schema):
    """A rendition as its author sees it."""

    name: str
    state: str
    content_type: str
    size_bytes: int
    width: int | None
    height: int | None
    failure_reason: str | None


class TrackDocument(Schema):
    """A text track as its author sees it."""

    language: str
    kind: str


class MetadataDocument(Schema):
    """The answer of ``GET /content/{contentId}/metadata``."""

    id: str
    course_id: str
    title: str
    position: int
    status: str
    content_type: str
    size_bytes: int
    checksum_sha256: str | None
    duration_seconds: int | None
    renditions: list[AnnouncedRenditionDocument]
    captions: list[TrackDocument]
    failure_reason: str | None
    version: int
    created_at: UtcTimestamp
    updated_at: UtcTimestamp
    deleted_at: UtcTimestamp | None
    purge_at: UtcTimestamp | None


class SummaryDocument(Schema):
    """One content in a listing."""

    id: str
    course_id: str
    title: str
    position: int
    status: str
    content_type: str
    size_bytes: int
    duration_seconds: int | None
    version: int
    updated_at: UtcTimestamp


class PageDocument(Schema):
    """The answer of ``GET /content``."""

    items: list[SummaryDocument]
    next_cursor: str | None


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


def ticket_document(ticket: uploads.UploadTicket) -> TicketDocument:
    """The document of a ticket: what is signed is in it, and nothing else of the store."""
    upload, expires_at = ticket.upload, ticket.expires_at
    send = None
    if upload is not None and expires_at is not None:
        multipart = upload.multipart
        send = SendDocument(
            method="multipart" if multipart else "post",
            contentType=upload.content_type,
            sizeBytes=upload.size_bytes,
            url=ticket.form.url if ticket.form else None,
            fields=dict(ticket.form.fields) if ticket.form else None,
            uploadId=multipart.upload_id if multipart else None,
            partSize=multipart.part_size if multipart else None,
            partCount=upload.parts if multipart else None,
            partUrls=[
                PartUrlDocument(partNumber=part.number, sizeBytes=part.size_bytes, url=part.url)
                for part in ticket.parts
            ],
            expiresAt=expires_at,
        )
    return TicketDocument(
        id=ticket.content.id,
        rendition=ticket.rendition,
        status=ticket.content.status.value,
        upload=send,
    )


def upload_document(status: uploads.UploadStatus) -> UploadDocument:
    """The document of an upload's state."""
    upload = status.upload
    multipart = upload.multipart
    return UploadDocument(
        id=status.content.id,
        rendition=upload.rendition,
        state=status.state.value,
        method="multipart" if multipart else "post",
        contentType=upload.content_type,
        sizeBytes=upload.size_bytes,
        checksumSha256=upload.checksum_sha256,
        partSize=multipart.part_size if multipart else None,
        partCount=upload.parts if multipart else None,
        missing=[PartRun(first=first, last=last) for first, last in status.missing],
        failureReason=upload.failure_reason,
    )


def metadata_document(found: content.Content) -> MetadataDocument:
    """The document of a content as its author sees it."""
    return MetadataDocument(
        id=found.id,
        courseId=found.course_id,
        title=found.title,
        position=found.position,
        status=found.status.value,
        contentType=found.content_type,
        sizeBytes=found.size_bytes,
        checksumSha256=found.checksum_sha256,
        durationSeconds=found.duration_seconds,
        renditions=[
            *(
                AnnouncedRenditionDocument(
                    name=rendition.name,
                    state=uploads.UploadState.READY.value,
                    contentType=rendition.content_type,
                    sizeBytes=rendition.size_bytes,
                    width=rendition.width,
                    height=rendition.height,
                    failureReason=None,
                )
                for rendition in found.renditions
            ),
            *(
                AnnouncedRenditionDocument(
                    name=upload.name,
                    state=(
                        uploads.UploadState.UPLOADING
                        if upload.failure_reason is None
                        else uploads.UploadState.FAILED
                    ).value,
                    contentType=upload.content_type,
                    sizeBytes=upload.size_bytes,
                    width=upload.width,
                    height=upload.height,
                    failureReason=upload.failure_reason,
                )
                for upload in found.rendition_uploads
            ),
        ],
        captions=[
            TrackDocument(language=caption.language, kind=caption.kind.value)
            for caption in found.captions
        ],
        failureReason=found.failure_reason,
        version=found.version,
        createdAt=found.created_at,
        updatedAt=found.updated_at,
        deletedAt=found.deleted_at,
        purgeAt=found.purge_at,
    )


def summary_document(summary: content.ContentSummary) -> SummaryDocument:
    """The document of one content in a listing."""
    return SummaryDocument(
        id=summary.id,
        courseId=summary.course_id,
        title=summary.title,
        position=summary.position,
        status=summary.status.value,
        contentType=summary.content_type,
        sizeBytes=summary.size_bytes,
        durationSeconds=summary.duration_seconds,
        version=summary.version,
        updatedAt=summary.updated_at,
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
