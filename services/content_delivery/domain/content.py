"""Content and its status machine.

Owns what a valid piece of content is and which steps its status may take. Every instance is valid:
a rule that is broken raises ValueError when the instance is made, whoever makes it (an upload, a
row of the table), with a message that names the field and never its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from services.content_delivery.domain.errors import (
    IllegalTransitionError,
    NotRestorableError,
    RenditionExistsError,
    RenditionNotFoundError,
    TooManyMediaError,
)

ORIGINAL_RENDITION = "original"
"""The name under which the uploaded object itself is listed and asked for."""

OBJECT_KEY_PREFIX = "content/"
"""Every object key starts with it; the service's role may read nothing else of the bucket."""

MAXIMUM_POSITION = 999_999
MAXIMUM_RENDITIONS = 16
MAXIMUM_CAPTIONS = 64
MAXIMUM_PARTS = 10_000
"""Of one multipart upload (Amazon S3, "Multipart upload limits")."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE_NAME = r"[A-Za-z0-9!#$&^_.+-]{1,64}"  # restricted-name of RFC 6838 section 4.2
_CONTENT_TYPE = re.compile(rf"{_TYPE_NAME}/{_TYPE_NAME}(; ?charset=[A-Za-z0-9-]{{1,32}})?")
_ETAG = re.compile(r'"[!#-~]{1,254}"')  # a strong entity tag, RFC 9110 section 8.8.3
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}")  # a BCP 47 tag
_CHECKSUM = re.compile(r"[A-Za-z0-9+/]{43}=")  # SHA-256 in base64, as S3 gives it
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class ContentStatus(Enum):
    """Where content stands between upload and deletion."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


TRANSITIONS = {
    ContentStatus.PENDING: {ContentStatus.READY, ContentStatus.FAILED, ContentStatus.DELETED},
    ContentStatus.READY: {ContentStatus.DELETED},
    ContentStatus.FAILED: {ContentStatus.DELETED},
    ContentStatus.DELETED: set[ContentStatus](),
}
"""pending → ready | failed → deleted, and deletion from anywhere. Only a restore leads back."""


class CaptionKind(Enum):
    """The kinds of text track of HTML's ``track`` element that a player shows."""

    SUBTITLES = "subtitles"
    CAPTIONS = "captions"
    DESCRIPTIONS = "descriptions"
    CHAPTERS = "chapters"


@dataclass(frozen=True, slots=True)
class Rendition:
    """One encoding of the content, as an object in the store.

    ``etag`` is the object's entity tag with its quotes, so that a client may send it as it is in
    ``If-Range``. Width and height are pixels, of pictures and videos only.
    """

    name: str
    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    etag: str
    width: int | None = None
    height: int | None = None
    checksum_sha256: str | None = None

    def __post_init__(self) -> None:
        _check_rendition(self)
        _require(_ETAG.fullmatch(self.etag) is not None, "rendition etag")


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """How an object arrives in parts: each of ``part_size`` bytes, the last of what is left.

    ``upload_id`` is the store's name of the upload; it is of no use without a signature, and is
    kept out of logs all the same.
    """

    upload_id: str = field(repr=False)
    part_size: int

    def __post_init__(self) -> None:
        _require(0 < len(self.upload_id) <= 1024, "uploadId")
        _require(self.part_size >= 1, "partSize")


@dataclass(frozen=True, slots=True)
class RenditionUpload:
    """A rendition that was announced and has not been verified, or was refused for a reason.

    Sizes, type and checksum are what was announced. Without ``multipart`` it is sent as one form.
    """

    name: str
    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    checksum_sha256: str | None = None
    width: int | None = None
    height: int | None = None
    multipart: MultipartUpload | None = None
    failure_reason: str | None = None

    def __post_init__(self) -> None:
        _check_rendition(self)
        _check_parts(self.multipart, self.size_bytes)
        _check_reason(self.failure_reason)


@dataclass(frozen=True, slots=True)
class Caption:
    """A WebVTT text track. ``language`` is a BCP 47 tag; (language, kind) is unique in a content."""

    language: str
    kind: CaptionKind
    object_key: str = field(repr=False)

    def __post_init__(self) -> None:
        _require(is_language(self.language), "caption language")
        _require(is_object_key(self.object_key), "caption objectKey")

    def is_same_track(self, other: Caption) -> bool:
        """Whether both are the track of one language and kind."""
        return (self.language.lower(), self.kind) == (other.language.lower(), other.kind)


@dataclass(frozen=True, slots=True)
class Content:
    """One piece of content of a course, as stored.

    Instants carry a zone. ``size_bytes`` and ``content_type`` are what was declared while pending
    and what was verified from ready on; ``etag`` is known from ready on. ``duration_seconds`` is
    None where the content has no running time. ``position`` orders the content of a course.
    ``purge_at`` is when the row may vanish: an abandoned upload's, or a deleted content's.
    ``multipart`` is how the original arrives, None once it is ready or where it comes as one form.
    """

    id: str
    course_id: str
    position: int
    title: str
    status: ContentStatus
    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    created_at: datetime
    updated_at: datetime
    version: int = 1
    etag: str | None = None
    checksum_sha256: str | None = None
    duration_seconds: int | None = None
    renditions: tuple[Rendition, ...] = ()
    captions: tuple[Caption, ...] = ()
    multipart: MultipartUpload | None = None
    rendition_uploads: tuple[RenditionUpload, ...] = ()
    failure_reason: str | None = None
    deleted_at: datetime | None = None
    purge_at: datetime | None = None

    def __post_init__(self) -> None:
        _require(_IDENTIFIER.fullmatch(self.id) is not None, "id")
        _require(_IDENTIFIER.fullmatch(self.course_id) is not None, "courseId")
        _require(0 <= self.position <= MAXIMUM_POSITION, "position")
        _require(0 < len(self.title) <= 200 and not _CONTROL.search(self.title), "title")
        _check_object(self.object_key, self.content_type, self.size_bytes)
        _require(self.version >= 1, "version")
        _require(self.etag is None or _ETAG.fullmatch(self.etag) is not None, "etag")
        _check_checksum(self.checksum_sha256)
        _check_parts(self.multipart, self.size_bytes)
        _require(
            self.duration_seconds is None or 0 <= self.duration_seconds <= 604_800,
            "durationSeconds",
        )
        _check_reason(self.failure_reason)
        names = [
            *(rendition.name for rendition in self.renditions),
            *(upload.name for upload in self.rendition_uploads),
        ]
        _require(len(names) <= MAXIMUM_RENDITIONS, "number of renditions")
        _require(len({ORIGINAL_RENDITION, *names}) == len(names) + 1, "names of renditions")
        tracks = {(caption.language.lower(), caption.kind) for caption in self.captions}
        _require(len(self.captions) <= MAXIMUM_CAPTIONS, "number of captions")
        _require(len(tracks) == len(self.captions), "languages of captions")
        for instant in (self.created_at, self.updated_at, self.deleted_at, self.purge_at):
            _require(instant is None or instant.utcoffset() is not None, "zone of an instant")
        _require(self.status is not ContentStatus.READY or self.etag is not None, "etag of ready")
        _require(
            (self.status is ContentStatus.FAILED) <= (self.failure_reason is not None),
            "failureReason of failed",
        )
        _require(
            (self.status is ContentStatus.DELETED) == (self.deleted_at is not None), "deletedAt"
        )

    def original(self) -> Rendition:
        """The uploaded object itself as a rendition. Raises ValueError before it is ready."""
        _require(self.etag is not None, "etag of the original")
        return Rendition(
            name=ORIGINAL_RENDITION,
            object_key=self.object_key,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            etag=self.etag or "",
            checksum_sha256=self.checksum_sha256,
        )

    def became_ready(
        self,
        *,
        size_bytes: int,
        etag: str,
        checksum_sha256: str | None,
        duration_seconds: int | None,
        at: datetime,
    ) -> Content:
        """This content once its upload has been verified: the facts are those of the store.

        Raises IllegalTransitionError unless it is pending.
        """
        return replace(
            self._moved(ContentStatus.READY),
            status=ContentStatus.READY,
            size_bytes=size_bytes,
            etag=etag,
            checksum_sha256=checksum_sha256,
            duration_seconds=duration_seconds,
            multipart=None,
            purge_at=None,
            updated_at=at,
        )

    def became_failed(self, *, reason: str, at: datetime) -> Content:
        """This content once its upload has been refused; ``reason`` is for its author.

        It keeps its ``purge_at``. Raises IllegalTransitionError unless it is pending.
        """
        return replace(
            self._moved(ContentStatus.FAILED),
            status=ContentStatus.FAILED,
            failure_reason=reason,
            updated_at=at,
        )

    def became_deleted(self, *, at: datetime, purge_at: datetime) -> Content:
        """This content after its deletion; until ``purge_at`` everything in it is kept, except
        renditions that have not arrived.

        Raises IllegalTransitionError when it is deleted already.
        """
        return replace(
            self._moved(ContentStatus.DELETED),
            status=ContentStatus.DELETED,
            rendition_uploads=(),
            deleted_at=at,
            purge_at=purge_at,
            updated_at=at,
        )

    def became_restored(self, *, at: datetime) -> Content:
        """This deleted content as ready again.

        Raises IllegalTransitionError unless it is deleted, NotRestorableError when it was never
        ready or its time has run out.
        """
        if self.status is not ContentStatus.DELETED:
            raise IllegalTransitionError(self.id, self.status.value, ContentStatus.READY.value)
        if self.etag is None or self.purge_at is None or self.purge_at <= at:
            raise NotRestorableError(self.id)
        return replace(
            self,
            version=self.version + 1,
            status=ContentStatus.READY,
            deleted_at=None,
            purge_at=None,
            updated_at=at,
        )

    def edited(
        self,
        *,
        title: str,
        course_id: str,
        position: int,
        duration_seconds: int | None,
        at: datetime,
    ) -> Content:
        """This content with other facts of its author's. Raises IllegalTransitionError once it is
        deleted."""
        if self.status is ContentStatus.DELETED:
            raise IllegalTransitionError(self.id, self.status.value, self.status.value)
        return replace(
            self,
            version=self.version + 1,
            title=title,
            course_id=course_id,
            position=position,
            duration_seconds=duration_seconds,
            updated_at=at,
        )

    def with_media(
        self, *, renditions: tuple[Rendition, ...], captions: tuple[Caption, ...], at: datetime
    ) -> Content:
        """This content with other renditions and captions. Only pending or ready content has any.

        Raises IllegalTransitionError otherwise.
        """
        return replace(self._with_media_changed(at), renditions=renditions, captions=captions)

    def with_rendition_upload(self, upload: RenditionUpload, *, at: datetime) -> Content:
        """This content with one more rendition on its way; one that was refused is replaced.

        Raises RenditionExistsError, TooManyMediaError, or IllegalTransitionError as `with_media`.
        """
        others = tuple(
            other
            for other in self.rendition_uploads
            if other.name != upload.name or other.failure_reason is None
        )
        names = [
            *(rendition.name for rendition in self.renditions),
            *(other.name for other in others),
        ]
        changed = self._with_media_changed(at)
        if upload.name in (ORIGINAL_RENDITION, *names):
            raise RenditionExistsError(self.id, upload.name)
        if len(names) >= MAXIMUM_RENDITIONS:
            raise TooManyMediaError(self.id, "renditions", MAXIMUM_RENDITIONS)
        return replace(changed, rendition_uploads=(*others, upload))

    def with_rendition_arrived(
        self,
        upload: RenditionUpload,
        *,
        size_bytes: int,
        etag: str,
        checksum_sha256: str | None,
        at: datetime,
    ) -> Content:
        """This content once exactly this upload of a rendition has been verified.

        Raises RenditionNotFoundError when it is no longer expected.
        """
        rendition = Rendition(
            name=upload.name,
            object_key=upload.object_key,
            content_type=upload.content_type,
            size_bytes=size_bytes,
            etag=etag,
            width=upload.width,
            height=upload.height,
            checksum_sha256=checksum_sha256,
        )
        return replace(
            self._with_media_changed(at),
            rendition_uploads=self._uploads_without(upload),
            renditions=(*self.renditions, rendition),
        )

    def with_rendition_refused(
        self, upload: RenditionUpload, *, reason: str, at: datetime
    ) -> Content:
        """This content once exactly this upload of a rendition has been refused.

        Raises RenditionNotFoundError when it is no longer expected.
        """
        return replace(
            self._with_media_changed(at),
            rendition_uploads=(
                *self._uploads_without(upload),
                replace(upload, failure_reason=reason),
            ),
        )

    def without_rendition(self, name: str, *, at: datetime) -> Content:
        """This content without that rendition, arrived or not. Raises RenditionNotFoundError."""
        renditions = tuple(entry for entry in self.renditions if entry.name != name)
        uploads = tuple(entry for entry in self.rendition_uploads if entry.name != name)
        if len(renditions) + len(uploads) == len(self.renditions) + len(self.rendition_uploads):
            raise RenditionNotFoundError(self.id, name)
        return replace(
            self._with_media_changed(at), renditions=renditions, rendition_uploads=uploads
        )

    def with_caption(self, caption: Caption, *, at: datetime) -> Content:
        """This content with that track in place of the one of its language and kind, if any.

        Raises TooManyMediaError, or IllegalTransitionError as `with_media`.
        """
        others = tuple(entry for entry in self.captions if not entry.is_same_track(caption))
        changed = self._with_media_changed(at)
        if len(others) >= MAXIMUM_CAPTIONS:
            raise TooManyMediaError(self.id, "captions", MAXIMUM_CAPTIONS)
        return replace(changed, captions=(*others, caption))

    def without_caption(self, language: str, kind: CaptionKind, *, at: datetime) -> Content:
        """This content without that track; the very same content where there is none."""
        captions = tuple(
            entry
            for entry in self.captions
            if (entry.language.lower(), entry.kind) != (language.lower(), kind)
        )
        if len(captions) == len(self.captions):
            return self
        return replace(self._with_media_changed(at), captions=captions)

    def _uploads_without(self, upload: RenditionUpload) -> tuple[RenditionUpload, ...]:
        if upload not in self.rendition_uploads or upload.failure_reason is not None:
            raise RenditionNotFoundError(self.id, upload.name)
        return tuple(entry for entry in self.rendition_uploads if entry != upload)

    def _with_media_changed(self, at: datetime) -> Content:
        if self.status not in (ContentStatus.PENDING, ContentStatus.READY):
            raise IllegalTransitionError(self.id, self.status.value, self.status.value)
        return replace(self, version=self.version + 1, updated_at=at)

    def _moved(self, to: ContentStatus) -> Content:
        if to not in TRANSITIONS[self.status]:
            raise IllegalTransitionError(self.id, self.status.value, to.value)
        return replace(self, version=self.version + 1)


@dataclass(frozen=True, slots=True)
class ContentSummary:
    """What a listing of a course shows of one content."""

    id: str
    course_id: str
    position: int
    title: str
    status: ContentStatus
    content_type: str
    size_bytes: int
    duration_seconds: int | None
    version: int
    updated_at: datetime


def is_object_key(key: str) -> bool:
    """Whether a key may be signed: below the prefix, without empty or dotted parts or controls.

    At most 1,024 bytes of UTF-8 (Amazon S3, "Naming Amazon S3 objects"). Browsers and the SDKs
    fold ``.`` and ``..`` in a URL's path, which would sign one object and ask for another.
    """
    if not key.startswith(OBJECT_KEY_PREFIX) or _CONTROL.search(key):
        return False
    parts = key.split("/")
    return len(key.encode()) <= 1024 and not any(part in ("", ".", "..") for part in parts)


def is_language(tag: str) -> bool:
    """Whether a text is a BCP 47 tag as captions carry it."""
    return _LANGUAGE.fullmatch(tag) is not None


def part_count(size_bytes: int, part_size: int) -> int:
    """How many parts an object has."""
    return -(-size_bytes // part_size)


def _check_rendition(rendition: Rendition | RenditionUpload) -> None:
    _require(_IDENTIFIER.fullmatch(rendition.name) is not None, "rendition name")
    _check_object(rendition.object_key, rendition.content_type, rendition.size_bytes)
    _check_checksum(rendition.checksum_sha256)
    for side in (rendition.width, rendition.height):
        _require(side is None or 0 < side <= 65_535, "rendition width or height")


def _check_parts(multipart: MultipartUpload | None, size_bytes: int) -> None:
    _require(
        multipart is None or 1 <= part_count(size_bytes, multipart.part_size) <= MAXIMUM_PARTS,
        "number of parts",
    )


def _check_checksum(checksum: str | None) -> None:
    _require(checksum is None or _CHECKSUM.fullmatch(checksum) is not None, "checksumSha256")


def _check_reason(reason: str | None) -> None:
    _require(reason is None or 0 < len(reason) <= 500, "failureReason")


def _check_object(key: str, content_type: str, size_bytes: int) -> None:
    _require(is_object_key(key), "objectKey")
    _require(_CONTENT_TYPE.fullmatch(content_type) is not None, "contentType")
    # One object of Amazon S3 holds at most 5 TB; the bound keeps the number exact in JavaScript.
    _require(0 <= size_bytes <= 5 * 1024**4, "sizeBytes")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} is not valid")
